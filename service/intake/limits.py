"""How much of anything intake takes."""

from dataclasses import dataclass
from typing import Final, Self

from service.settings import ServiceSettings

KIB: Final = 1 << 10
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Limits of what comes in.

    Attributes:
        max_slide_bytes: largest slide.
        min_free_bytes: disk space that stays free.
        max_uploads: uploads at the same time, per process.
        max_unfinished: resumable uploads that one owner may have begun and not finished.
        expires_s: a resumable upload without news for this long is removed.
        max_metadata_bytes: of the form's `metadata`, or of a tus upload's header.
        stall_s: an upload that sends nothing for this long is given up.
        block_bytes: what is gathered before a thread parses, hashes and writes it. An upload
            holds about this much memory.
        check_space_bytes: the disk's free space is looked at again after this much.
        writers: threads that write and hash.
    """

    max_slide_bytes: int
    min_free_bytes: int
    max_uploads: int = 64
    max_unfinished: int = 100
    expires_s: float = 24 * 3600
    max_metadata_bytes: int = 64 * KIB
    stall_s: float = 60
    block_bytes: int = 256 * KIB
    check_space_bytes: int = 16 * MIB
    writers: int = 2

    @property
    def max_form_bytes(self) -> int:
        """Largest form: a slide, metadata, and what separates them."""
        return self.max_slide_bytes + self.max_metadata_bytes + 64 * KIB

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """What an installation set."""
        return cls(
            max_slide_bytes=settings.max_slide_bytes,
            min_free_bytes=settings.min_free_bytes,
            max_uploads=settings.max_uploads,
            max_unfinished=settings.max_unfinished_uploads,
            expires_s=settings.upload_expires_h * 3600,
        )
