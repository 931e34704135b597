"""What the laboratory calls the order and the smear."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Free text from the laboratory's system: sent back, never interpreted, never trusted.

    Blank text counts as none: an identifier of spaces identifies nothing, and neither FHIR nor
    HL7 v2 can carry one.

    Attributes:
        accession: number of the order; None when none was given.
        specimen: number of the smear; None when none was given.
    """

    accession: str | None = None
    specimen: str | None = None

    def __post_init__(self) -> None:
        for name in ("accession", "specimen"):
            text = getattr(self, name)
            if text is not None and not text.strip():
                object.__setattr__(self, name, None)
