"""Whether the service works."""

from pydantic import Field

from service.contract.record import Record


class PartHealth(Record):
    """One part of the service."""

    name: str = Field(description="store, queue, worker or model.")
    ready: bool = Field(description="Whether it works.")
    detail: str = Field(description="What was looked at.")


class Health(Record):
    """The service, part by part."""

    ready: bool = Field(description="Whether slides can be taken and analysed.")
    parts: tuple[PartHealth, ...] = Field(description="Each part that was looked at.")
