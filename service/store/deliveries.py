"""Webhooks that are to be sent: noted in the transaction that ends a scan, so none is forgotten."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, select

from service.store.columns import new_id
from service.store.tables import DeliveryRow, ScanRow

SCAN_ENDED: Final = "scan.ended"
WAITING: Final = "waiting"
"""State of what is still to be sent."""


def note_end(connection: Connection, scan_id: str, moment: datetime) -> None:
    """Have the end of a scan told to whoever asked for it; nothing if nobody did."""
    url = connection.execute(select(ScanRow.callback_url).where(ScanRow.id == scan_id)).scalar_one()
    if url is None:
        return
    connection.execute(
        insert(DeliveryRow).values(
            id=new_id(),
            scan_id=scan_id,
            event=SCAN_ENDED,
            url=url,
            state=WAITING,
            attempts=0,
            next_at=moment,
            created_at=moment,
        )
    )
