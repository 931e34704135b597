"""Text of strangers in a table that a spreadsheet may open."""

from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins with one of these (OWASP, CSV injection)."""


def disarm(value: object) -> object:
    """The value, with an apostrophe before text that would be run."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
