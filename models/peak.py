"""A leukocyte as the detector reports it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peak:
    """One leukocyte found in a field.

    Attributes:
        x, y: centre, field px.
        diameter_um: of the whole cell, estimated.
        score: how sure the detector is, 0–1; no probability.
    """

    x: float
    y: float
    diameter_um: float
    score: float
