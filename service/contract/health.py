"""Whether the service works."""

from pydantic import Field

from service.contract.record import Record


class PartHealth(Record):
    """One part of the service."""

    name: str = Field(description="store, queue, worker or model.")
    ready: bool = Field(description="Whether it works.")
    detail: str = Field(description="What was looked at.")


class OperationState(Record):
    """What a model process has done of one operation since it started; it only grows."""

    batches: int
    rows: int = Field(description="Patches or fields.")
    joined: int = Field(description="Batches that held rows of several requests.")
    busy_s: float = Field(description="Time the networks computed, s.")
    batch_rows: dict[int, int] = Field(
        description="Histogram: batches by the power of two their rows fit in."
    )


class ModelState(Record):
    """What a model process last said of itself."""

    process: str = Field(description="Machine and process id.")
    uptime_s: float = Field(description="Since its start, s.")
    connections: int = Field(description="Open now.")
    refused: int = Field(description="Connections turned away because there were too many.")
    operations: dict[str, OperationState]


class Health(Record):
    """The service, part by part."""

    ready: bool = Field(description="Whether slides can be taken and analysed.")
    parts: tuple[PartHealth, ...] = Field(description="Each part that was looked at.")
