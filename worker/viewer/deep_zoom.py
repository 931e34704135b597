"""The grid of a Deep Zoom pyramid, as OpenSeadragon asks for it.

Level L of a slide of w × h px has ceil(w / 2^(max − L)) × ceil(h / 2^(max − L)) px, level max is
full resolution and level 0 a single px. It is cut into squares of `TILE_PX`; a tile shows
`OVERLAP_PX` more on each side where it has a neighbour, and less where the level ends.
https://learn.microsoft.com/previous-versions/windows/silverlight/dotnet-windows-silverlight/cc645050(v=vs.95)
"""

from dataclasses import dataclass
from typing import Final

from service.contract.viewing import OVERLAP_PX, TILE_PX
from worker.slide.geometry import Region, Size

MEDIA_TYPE: Final = "application/xml"


class TileOutOfRange(LookupError):
    """The pyramid has no such level or tile."""


@dataclass(frozen=True, slots=True)
class DeepZoomTile:
    """A tile to be rendered.

    Attributes:
        region: level-0 frame; at the slide's right and lower edge up to a px of the tile's level
            larger than the slide.
        size: px of the tile.
        step_l0: level-0 px per px of the tile.
    """

    region: Region
    size: Size
    step_l0: int


@dataclass(frozen=True, slots=True)
class DeepZoom:
    """The pyramid of a slide.

    Attributes:
        size: level 0 of the slide, px.
    """

    size: Size

    @property
    def max_level(self) -> int:
        """Level of full resolution."""
        return (max(self.size.width, self.size.height) - 1).bit_length()

    def level_size(self, level: int) -> Size:
        """Px of a level.

        Raises:
            TileOutOfRange: there is no such level.
        """
        if not 0 <= level <= self.max_level:
            raise TileOutOfRange(
                f"there is no level {level}: the slide's are 0 to {self.max_level}"
            )
        step = self._step(level)
        return Size(-(-self.size.width // step), -(-self.size.height // step))

    def tiles(self, level: int) -> Size:
        """Columns and rows of a level's tiles.

        Raises:
            TileOutOfRange: there is no such level.
        """
        size = self.level_size(level)
        return Size(-(-size.width // TILE_PX), -(-size.height // TILE_PX))

    def locate(self, level: int, column: int, row: int) -> DeepZoomTile:
        """What a tile shows.

        Raises:
            TileOutOfRange: there is no such level or tile.
        """
        size, grid, step = self.level_size(level), self.tiles(level), self._step(level)
        if not (0 <= column < grid.width and 0 <= row < grid.height):
            raise TileOutOfRange(
                f"level {level} has no tile {column}_{row}: it has {grid.width} columns and"
                f" {grid.height} rows, numbered from 0"
            )
        left, right = _span(column, size.width)
        top, bottom = _span(row, size.height)
        region = Region(
            float(left * step),
            float(top * step),
            float((right - left) * step),
            float((bottom - top) * step),
        )
        return DeepZoomTile(region, Size(right - left, bottom - top), step)

    def describe(self) -> bytes:
        """The descriptor, XML."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg"'
            f' Overlap="{OVERLAP_PX}" TileSize="{TILE_PX}">'
            f'<Size Width="{self.size.width}" Height="{self.size.height}"/></Image>\n'
        ).encode()

    def _step(self, level: int) -> int:
        return 1 << (self.max_level - level)


def _span(index: int, length: int) -> tuple[int, int]:
    """First px of a tile along an axis, and one past its last."""
    first = index * TILE_PX - (OVERLAP_PX if index else 0)
    return first, min(length, (index + 1) * TILE_PX + OVERLAP_PX)
