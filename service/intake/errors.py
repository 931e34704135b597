"""Why a slide was not taken in.

IntakeError
├── UploadRefused               what was sent
│   ├── MalformedUpload         not the form, header or protocol it should be
│   ├── SlideMissing            the form has no slide
│   ├── MetadataTooLarge
│   ├── SlideTooLarge
│   ├── UnsupportedUpload       cannot be a slide
│   ├── WrongContentType
│   ├── WrongProtocolVersion    of tus
│   └── ChecksumMismatch        of a piece, tus
├── UploadInterrupted           how it was sent
│   ├── UploadAborted           the connection broke
│   └── UploadStalled           nothing came for too long
├── UploadStateError            of a resumable upload
│   ├── UploadNotFound
│   ├── UploadExpired
│   ├── UploadUnfinished
│   ├── UploadLocked
│   └── OffsetMismatch
├── CapacityError               may pass
│   ├── StorageFull
│   ├── TooManyUploads
│   ├── TooManyUnfinished       resumable uploads of one owner
│   └── ObjectStoreUnavailable
└── ReferenceRefused            a slide_uri
    ├── ReferenceForbidden
    └── ReferenceMissing

Each class says its problem `code` and HTTP `status`; messages say value, limit and remedy and hold
no path of the server.
"""

from typing import ClassVar


class IntakeError(Exception):
    """A slide was not taken in; nothing of it is kept unless the class says so.

    Attributes:
        code: for machines.
        status: of the HTTP answer.
        headers: that the HTTP answer carries.
    """

    code: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.headers: dict[str, str] = {}


class UploadRefused(IntakeError):
    """What was sent is the reason."""


class MalformedUpload(UploadRefused):
    """Not the form, header or protocol it should be."""

    code, status = "malformed_upload", 400


class SlideMissing(UploadRefused):
    """The form ended without a part named `slide`."""

    code, status = "slide_missing", 400

    def __init__(self) -> None:
        super().__init__("the form has no part named `slide`: send the file under that name")


class MetadataTooLarge(UploadRefused):
    """The part `metadata`, or the header of that meaning, is too long."""

    code, status = "metadata_too_large", 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the metadata exceed {limit} bytes: leave out what is not needed")
        self.limit = limit


class SlideTooLarge(UploadRefused):
    """More bytes than the installation takes."""

    code, status = "slide_too_large", 413

    def __init__(self, size_bytes: int, limit: int) -> None:
        super().__init__(
            f"the slide has {size_bytes} bytes or more, at most {limit} are taken: raise"
            " SMEARSCAN_MAX_SLIDE_BYTES or export fewer levels"
        )
        self.size_bytes = size_bytes
        self.limit = limit


class UnsupportedUpload(UploadRefused):
    """The first bytes are those of something that is not a slide.

    Attributes:
        looks_like: a phrase such as "a PNG picture".
    """

    code, status = "unsupported_format", 415

    def __init__(self, looks_like: str, remedy: str) -> None:
        super().__init__(f"the file is {looks_like}, not a slide: {remedy}")
        self.looks_like = looks_like


class WrongContentType(UploadRefused):
    """The request's body is of another type than this address takes."""

    code, status = "unsupported_media_type", 415

    def __init__(self, sent: str, taken: str) -> None:
        super().__init__(f"Content-Type {sent[:100]!r} is not taken here: send {taken}")


class WrongProtocolVersion(UploadRefused):
    """A tus version that is not spoken here."""

    code, status = "unsupported_protocol_version", 412

    def __init__(self, sent: str, spoken: str) -> None:
        super().__init__(f"Tus-Resumable is {sent[:20]!r}: send {spoken}")
        self.headers["Tus-Version"] = spoken


class ChecksumMismatch(UploadRefused):
    """A piece of a resumable upload came damaged; the piece is dropped, what was before stays."""

    code, status = "checksum_mismatch", 460

    def __init__(self, algorithm: str) -> None:
        super().__init__(f"the {algorithm} of the piece is not the one sent: send it again")


class UploadInterrupted(IntakeError):
    """The upload did not come to its end. A resumable one keeps what arrived."""


class UploadAborted(UploadInterrupted):
    """The connection broke; nobody reads the answer."""

    code, status = "upload_aborted", 400

    def __init__(self) -> None:
        super().__init__("the connection broke before the upload's end: send it again")


class UploadStalled(UploadInterrupted):
    """Nothing came for too long."""

    code, status = "upload_stalled", 408

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"nothing came for {limit_s:g} s: send it again, or in pieces with tus")
        self.limit_s = limit_s
        self.headers["Connection"] = "close"


class UploadStateError(IntakeError):
    """A resumable upload is not in a state for what was asked."""


class UploadNotFound(UploadStateError):
    """No upload has this id, or it is somebody else's."""

    code, status = "upload_not_found", 404

    def __init__(self) -> None:
        super().__init__("there is no such upload: create one with POST")


class UploadExpired(UploadStateError):
    """The upload lay too long."""

    code, status = "upload_expired", 410

    def __init__(self) -> None:
        super().__init__("the upload has expired: create another one with POST")


class UploadUnfinished(UploadStateError):
    """A scan was asked for an upload that is still arriving."""

    code, status = "upload_unfinished", 409

    def __init__(self, offset: int, length: int) -> None:
        super().__init__(f"{offset} of {length} bytes have arrived: send the rest first")
        self.offset = offset
        self.length = length


class UploadLocked(UploadStateError):
    """Another request is writing to the upload."""

    code, status = "upload_locked", 423

    def __init__(self) -> None:
        super().__init__("another request is at this upload: wait for it, then ask for the offset")
        self.headers["Retry-After"] = "1"


class OffsetMismatch(UploadStateError):
    """The piece does not begin where the upload ends."""

    code, status = "offset_mismatch", 409

    def __init__(self, sent: int, offset: int) -> None:
        super().__init__(f"Upload-Offset is {sent}, {offset} bytes have arrived: go on from there")
        self.headers["Upload-Offset"] = str(offset)
        self.offset = offset


class CapacityError(IntakeError):
    """The installation cannot take it now; the same upload may succeed later."""


class StorageFull(CapacityError):
    """Too little disk space. A resumable upload keeps what arrived."""

    code, status = "storage_full", 507

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the storage is full ({limit} bytes are kept free): remove old scans or lower"
            " SMEARSCAN_MIN_FREE_BYTES, then send the slide again"
        )
        self.limit = limit
        self.headers["Retry-After"] = "300"


class TooManyUploads(CapacityError):
    """As many uploads as allowed are running."""

    code, status = "too_many_uploads", 503

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} uploads are running, no more are taken: try again later")
        self.limit = limit
        self.headers["Retry-After"] = "5"


class TooManyUnfinished(CapacityError):
    """One owner has begun as many resumable uploads as allowed and ended none of them."""

    code, status = "too_many_unfinished", 429

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} resumable uploads of this key are unfinished, no more are begun: finish or"
            " delete one, or raise SMEARSCAN_MAX_UNFINISHED_UPLOADS"
        )
        self.limit = limit
        self.headers["Retry-After"] = "300"


class ObjectStoreUnavailable(CapacityError):
    """The object store of a `slide_uri` does not answer, or its library is not installed."""

    code, status = "object_store_unavailable", 503

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["Retry-After"] = "30"


class ReferenceRefused(IntakeError):
    """A `slide_uri` that is not one."""

    code, status = "slide_uri_invalid", 422


class ReferenceForbidden(ReferenceRefused):
    """Outside what the installation allows; whether something is there is not told."""

    code, status = "slide_uri_forbidden", 403

    def __init__(self) -> None:
        super().__init__(
            "the slide_uri is outside the directories and prefixes that are allowed here: ask the"
            " administrator to add it to SMEARSCAN_SLIDE_ROOTS or SMEARSCAN_S3_PREFIXES"
        )


class ReferenceMissing(ReferenceRefused):
    """Allowed, but there is no regular file or object that can be read."""

    code, status = "slide_uri_not_found", 422

    def __init__(self, reason: str = "there is no such file") -> None:
        super().__init__(f"the slide_uri cannot be used: {reason}; check its spelling and access")
