"""Archive rescans: slides are found, fed to the archive queue bit by bit, accounted for."""

from service.batches.feeder import BatchFeeder

__all__ = ["BatchFeeder"]
