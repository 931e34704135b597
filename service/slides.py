"""Where the slide of a scan lies: stored here, or where the laboratory keeps it."""

from pathlib import Path
from typing import Any

from sqlalchemy import Row

from service.intake.objects import S3
from service.layout import DataRoot


def is_object(row: Row[Any]) -> bool:
    """Whether the slide is an object in a bucket, which is fetched into the store to be read."""
    return row.slide_uri is not None and row.slide_uri.startswith(S3)


def is_stored(row: Row[Any]) -> bool:
    """Whether the slide's bytes lie, or lay, in the store."""
    return row.slide_uri is None or is_object(row)


def locate_slide(layout: DataRoot, row: Row[Any]) -> Path:
    """The file; whether it is still there is for the reader to see."""
    if is_stored(row):
        assert row.slide_sha256 is not None, "an object is fetched before it is located"
        return layout.slide_of(row.slide_sha256)
    return Path(row.slide_uri)
