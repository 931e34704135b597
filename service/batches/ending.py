"""A batch is given up: what waits at once, what runs as soon as its worker notices."""

from service.installation import Installation


def stop(installation: Installation, batch_id: str) -> None:
    """Cancel what a cancelled batch has open, but for scans that others asked for, too.

    May be broken off and begun again anywhere; the reconciler does it until the batch is finished.
    """
    installation.batch_items.stop_scans(batch_id)
    installation.batch_items.settle(batch_id)
    installation.batch_items.let_go(batch_id)
