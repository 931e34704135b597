"""Where things are on a slide. Points are (x, y); every coordinate names its frame.

The *level-0 frame* has its origin at the outer corner of the top left pixel of the full
resolution image, x to the right, y down, unit one level-0 pixel; pixel (i, j) covers
[i, i + 1) × [j, j + 1) and its centre lies at (i + 0.5, j + 0.5).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in whole pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Region:
    """An axis-parallel rectangle in the level-0 frame; may reach beyond the slide."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """x of the right edge, exclusive."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """y of the lower edge, exclusive."""
        return self.y + self.height

    def output_size(self, um_per_px_l0: float, um_per_px: float) -> Size:
        """Pixels this region has when sampled at `um_per_px`, rounded, at least 1 × 1."""
        scale = um_per_px_l0 / um_per_px
        return Size(max(1, round(self.width * scale)), max(1, round(self.height * scale)))
