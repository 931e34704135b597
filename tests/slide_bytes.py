"""Bytes that begin like a slide and are none: enough for what opens no slide."""

import random

from service.intake.limits import IntakeLimits


def slide_bytes(size: int, seed: int = 1) -> bytes:
    """A TIFF's first bytes and noise, `size` bytes in all."""
    return (b"II*\0" + random.Random(seed).randbytes(size))[:size]


def limits(**others: float) -> IntakeLimits:
    """Small ones, so that tests reach them."""
    return IntakeLimits(**{"max_slide_bytes": 1 << 20, "min_free_bytes": 0, **others})  # type: ignore[arg-type]
