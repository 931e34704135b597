"""What a client sends to have a slide scanned."""

from typing import Annotated, Self

from pydantic import Field, HttpUrl, model_validator

from service.contract.scan import Priority, ScanParameters

Label = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A laboratory's own name for something; no control characters."""


class ScanMetadata(ScanParameters):
    """What comes with a slide: how to analyse it, and what the laboratory calls it."""

    accession: Label | None = Field(
        default=None,
        description="The laboratory's number of the order; sent back, never looked at.",
    )
    specimen: Label | None = Field(
        default=None,
        description="The laboratory's number of the smear; sent back, never looked at.",
    )
    priority: Priority = Field(
        default=Priority.INTERACTIVE,
        description="`interactive` goes before everything that waits as `archive`.",
    )
    callback_url: HttpUrl | None = Field(
        default=None,
        description="Where to send a signed message when the scan ends; its host must be allowed "
        "by the installation.",
    )
    force: bool = Field(
        default=False,
        description="Scan anew although this slide was scanned with this model and these "
        "parameters. False: the existing scan is returned.",
    )

    @property
    def analysis(self) -> ScanParameters:
        """The part that decides the result."""
        return ScanParameters(**{name: getattr(self, name) for name in ScanParameters.model_fields})


class ScanSubmission(ScanMetadata):
    """A request to scan a slide that the service can reach by itself."""

    slide_uri: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="A file under one of the installation's slide roots (`file:///…` or an "
        "absolute path), or an `s3://` object under an allowed prefix.",
    )
    upload_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="A finished resumable upload.",
    )

    @model_validator(mode="after")
    def _names_one_slide(self) -> Self:
        if (self.slide_uri is None) == (self.upload_id is None):
            raise ValueError("give either slide_uri or upload_id")
        return self
