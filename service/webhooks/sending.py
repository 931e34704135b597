"""Webhooks are sent until they arrive, a bounded number of times. At least once: a receiver tells
a repetition by the delivery's id."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

import httpx
import structlog
from pydantic import AwareDatetime, Field
from sqlalchemy import Row, select, update

from service.contract.record import Record
from service.contract.scan import Scan
from service.installation import Installation
from service.store.columns import now
from service.store.deliveries import WAITING
from service.store.engine import writing
from service.store.scan_rows import ScanMissing
from service.store.tables import DeliveryRow
from service.webhooks.policy import CallbackRefused, check_callback, resolve_callback
from service.webhooks.signature import HEADER, load_secret, sign

TIMEOUT_S: Final = 10.0
LEASE: Final = timedelta(seconds=60)
"""A delivery whose sender died in the middle is tried again after this."""
SLICE: Final = 20
AT_ONCE: Final = 4
"""A receiver that hangs holds up no other; a slice takes less than its lease whatever happens."""
FIRST_WAIT: Final = timedelta(seconds=5)
MAX_WAIT: Final = timedelta(hours=1)

_log = structlog.get_logger(__name__)


class Notice(Record):
    """Body of a webhook."""

    delivery_id: str = Field(description="The same in every repetition of this message.")
    event: str = Field(description="`scan.ended`.")
    created_at: AwareDatetime = Field(description="When the scan ended.")
    scan: Scan = Field(description="As `GET /v1/scans/{scan_id}` gives it.")
    report_url: str = Field(description="Where the report is, for a caller with a key.")


class WebhookSender:
    """Sends what is due."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    def run_once(self) -> int:
        """Try every delivery that is due, some at a time; returns how many arrived."""
        due = self._take_due()
        if not due:
            return 0
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook") as threads:
            return sum(threads.map(self._deliver, due))

    def _take_due(self) -> list[Row[Any]]:
        """Deliveries that are due, taken so that no other sender tries them meanwhile."""
        moment = now()
        with writing(self._installation.engine) as connection:
            due = connection.execute(
                select(DeliveryRow.__table__)
                .where(DeliveryRow.state == WAITING, DeliveryRow.next_at <= moment)
                .order_by(DeliveryRow.next_at)
                .limit(SLICE)
                .with_for_update(skip_locked=True)
            ).all()
            connection.execute(
                update(DeliveryRow)
                .where(DeliveryRow.id.in_([row.id for row in due]))
                .values(next_at=moment + LEASE)
            )
        return list(due)

    def _deliver(self, row: Row[Any]) -> bool:
        try:
            scan = self._installation.scans.get(row.scan_id)
        except ScanMissing:
            self._settle(row, "dropped", "the scan was purged")
            return False
        try:
            status = self._post(row, scan)
        except CallbackRefused as err:
            self._retry(row, str(err))
            return False
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            self._retry(row, type(err).__name__)
            return False
        if not 200 <= status < 300:
            self._retry(row, f"the receiver answered {status}")
            return False
        self._settle(row, "delivered", None)
        return True

    def _post(self, row: Row[Any], scan: Scan) -> int:
        """Send to the address that was checked, by the name that was asked for."""
        settings = self._installation.settings
        parts = check_callback(settings, row.url)
        address = resolve_callback(settings, parts)
        assert parts.hostname is not None
        base = settings.public_url or f"http://{settings.host}:{settings.port}"
        notice = Notice(
            delivery_id=row.id,
            event=row.event,
            created_at=row.created_at,
            scan=scan,
            report_url=f"{base}/v1/scans/{scan.scan_id}/report",
        )
        body = notice.model_dump_json().encode()
        url = httpx.URL(row.url).copy_with(host=address)
        with self._client.stream(  # the answer's body is nobody's business: it may be endless
            "POST",
            url,
            content=body,
            headers={
                "Host": parts.netloc,
                "Content-Type": "application/json",
                "User-Agent": "smearscan",
                HEADER: sign(load_secret(settings), body, int(time.time())),
            },
            extensions={"sni_hostname": parts.hostname},
        ) as response:
            return response.status_code

    def _retry(self, row: Row[Any], error: str) -> None:
        attempts = row.attempts + 1
        if attempts >= self._installation.settings.webhook_attempts:
            self._settle(row, "failed", error)
            return
        wait = min(FIRST_WAIT * 4 ** (attempts - 1), MAX_WAIT)
        self._update(row, attempts=attempts, last_error=error, next_at=now() + wait)
        _log.warning("webhook not delivered", delivery=row.id, error=error, attempts=attempts)

    def _settle(self, row: Row[Any], state: str, error: str | None) -> None:
        delivered = now() if state == "delivered" else None
        self._update(
            row,
            state=state,
            attempts=row.attempts + 1,
            last_error=error,
            delivered_at=delivered,
        )
        _log.info("webhook settled", delivery=row.id, scan_id=row.scan_id, state=state)

    def _update(self, row: Row[Any], **values: Any) -> None:
        with writing(self._installation.engine) as connection:
            connection.execute(update(DeliveryRow).where(DeliveryRow.id == row.id).values(**values))
