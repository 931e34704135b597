"""A slide that is at hand becomes a scan: checks, SQL, the queue, in this order.

Once SQL has the scan it cannot be lost: a queue that does not answer only delays it, because the
reconciler hands over again what SQL says is open.
"""

import hashlib
from dataclasses import dataclass

import structlog

from service.contract.problem import ProblemCode
from service.contract.scan import Priority, ScanState
from service.contract.submission import ScanMetadata
from service.dispatch import hand_over
from service.installation import Installation
from service.problems import ApiProblem
from service.store.audit import Action
from service.store.creation import ClientRequest, Created, NewScan, SlideSource
from service.store.keys import ApiKey
from service.webhooks.policy import check_callback

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to scan.

    Attributes:
        slide: at hand, checked.
        metadata: as sent.
        caller: whose request it is.
        idempotency_key: the client's name for the request, or None.
    """

    slide: SlideSource
    metadata: ScanMetadata
    caller: ApiKey
    idempotency_key: str | None = None

    @property
    def request(self) -> ClientRequest | None:
        """The client's key with what it stands for."""
        if self.idempotency_key is None:
            return None
        text = f"{self.slide.identity}\n{self.metadata.model_dump_json()}"
        return ClientRequest(self.idempotency_key, hashlib.sha256(text.encode()).hexdigest())


def check_room(installation: Installation) -> None:
    """Refuse a scan while too many wait, before its slide is taken.

    Raises:
        ApiProblem: 503, with when to come again.
    """
    limit = installation.settings.max_queued
    waiting = installation.scans.count(ScanState.QUEUED, Priority.INTERACTIVE)
    if waiting >= limit:
        raise ApiProblem(
            503,
            ProblemCode.OVERLOADED,
            f"{waiting} scans wait, the limit is {limit}: try again later, or add workers.",
            headers={"Retry-After": "30"},
        )


def submit(installation: Installation, submission: Submission) -> Created:
    """Have a slide scanned, or find the scan that it has.

    Raises:
        UnknownModel: the named classifier is not served here.
        CallbackRefused: the callback may not be called.
        IdempotencyMismatch: the client's key stands for another request.
        ApiProblem: 409; the slide was purged while it was being submitted.
    """
    metadata, caller = submission.metadata, submission.caller
    if metadata.callback_url is not None:
        check_callback(installation.settings, str(metadata.callback_url))
    created = installation.scans.create(
        NewScan(
            submission.slide,
            metadata,
            submitted_by=caller.id,
            model_sha256=installation.models.sha256_of(
                metadata.model or installation.settings.model
            ),
            request=submission.request,
        )
    )
    scan_id = created.scan.scan_id
    if created.fresh:
        _check_slide_is_there(installation, submission.slide, scan_id)
        hand_over(installation, installation.scans.row(scan_id))
    installation.audit.note(
        caller.id, Action.SUBMITTED, scan_id=scan_id, detail={"fresh": created.fresh}
    )
    _log.info("scan submitted", scan_id=scan_id, fresh=created.fresh)
    return created


def _check_slide_is_there(installation: Installation, slide: SlideSource, scan_id: str) -> None:
    """A stored slide may have been purged between its arrival and its scan (see retention)."""
    if slide.sha256 is None or installation.layout.slide_of(slide.sha256).is_file():
        return
    installation.scans.cancel(scan_id)
    installation.scans.forget_requests(scan_id)  # sent again with its key, it is a new request
    raise ApiProblem(
        409, ProblemCode.CONFLICT, "The slide was purged while it was submitted: send it again."
    )
