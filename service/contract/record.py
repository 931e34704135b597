"""The base of every type in the contract."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Immutable, without unknown fields, without NaN or infinity (JSON has neither)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a file's bytes, lower-case hex."""

ScanId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""Name of a scan: safe in a URL, a file name and HTML."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, 0–1."""

Percent = Annotated[float, Field(ge=0, le=100)]
"""A part of a whole, 0–100, rounded to 4 decimals."""

Seconds = Annotated[float, Field(ge=0)]
"""A duration, s."""
