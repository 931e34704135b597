"""Find the leukocytes of a slide, tile by tile, as if it had been one image.

Tiles lie on one lattice at the detector's scale, whose origin is the slide's top left corner. Each
has a core and a margin as wide as the detector can see; a peak belongs to the tile whose core
holds its centre, and peaks of one cell are merged on the whole slide. So a cell on a tile's border
is found once, and moving the grid changes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.detector_card import DetectorCard
from models.peak import Peak, judge_peaks
from service.contract.failure import RegionUnreadable
from worker.predictor import SupportsDetect
from worker.region import CountableRegion
from worker.slide.geometry import Region
from worker.slide.protocol import Slide

CORE_PX: Final = 640
"""Edge of a tile's core at the detector's scale (371 µm at 0.58 µm/px); a multiple of its stride.
With the margin a tile is 1.44 times as many pixels as its core; smaller cores waste more, larger
ones read more that is not countable. One tile is in memory at a time, whatever the slide's size."""

SMALLEST_CORE_PX: Final = 160
"""An unreadable tile is tried again in quarters, as long as their cores are at least this wide:
one damaged block of pixels should not cost the cells of 0.2 mm²."""

OWNERSHIP_SLACK_PX: Final = 0.5
"""Cores reach this far into their neighbours, so that rounding cannot orphan a centre on a border;
merging removes what is then found twice."""

RIM_POINTS: Final = 16
"""Points of a cell's outline that are tested against the region's and the slide's edge."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A leukocyte.

    Attributes:
        x_px, y_px: centre, level-0 frame.
        diameter_um: of the whole cell, estimated.
        score: 0–1.
        edge: its outline crosses the edge of the slide or of the countable region.
    """

    x_px: float
    y_px: float
    diameter_um: float
    score: float
    edge: bool


@dataclass(frozen=True, slots=True)
class Detections:
    """All leukocytes of a countable region, and how much of it was seen.

    Attributes:
        cells: sorted by y, then x.
        doubtful: what it was not sure enough of, the likeliest first.
        tiles: that share area with the region.
        tiles_failed: of these, those that could not be read whole; some of their cells are missing.
        area_mm2: of the region.
        unread_mm2: of the region, what no readable tile or part of one covers.
    """

    cells: tuple[Detection, ...]
    doubtful: tuple[Detection, ...]
    tiles: int
    tiles_failed: int
    area_mm2: float
    unread_mm2: float

    @property
    def coverage(self) -> float:
        """Share of the region that was read, 0–1; 1 where there was nothing to read."""
        return 1.0 - self.unread_mm2 / self.area_mm2 if self.area_mm2 else 1.0


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile's core, on the lattice at the detector's scale, px; may reach beyond the slide."""

    x: int
    y: int
    core_px: int

    def core_l0(self, l0_per_px: float) -> Region:
        """The core in the level-0 frame."""
        edge = self.core_px * l0_per_px
        return Region(self.x * l0_per_px, self.y * l0_per_px, edge, edge)

    def window_l0(self, l0_per_px: float, margin_px: int) -> Region:
        """Core and margin in the level-0 frame."""
        edge = (self.core_px + 2 * margin_px) * l0_per_px
        return Region(
            (self.x - margin_px) * l0_per_px, (self.y - margin_px) * l0_per_px, edge, edge
        )

    def quarters(self) -> "list[Tile]":
        """Four tiles of half the core that make up this one."""
        half = self.core_px // 2
        return [Tile(x, y, half) for y in (self.y, self.y + half) for x in (self.x, self.x + half)]

    def owns(self, x: float, y: float) -> bool:
        """Whether a point of the lattice lies in the core, give or take `OWNERSHIP_SLACK_PX`."""
        return (
            -OWNERSHIP_SLACK_PX <= x - self.x < self.core_px + OWNERSHIP_SLACK_PX
            and -OWNERSHIP_SLACK_PX <= y - self.y < self.core_px + OWNERSHIP_SLACK_PX
        )


def plan_tiles(
    region: CountableRegion,
    l0_per_px: float,
    *,
    core_px: int = CORE_PX,
    grid_shift: tuple[int, int] = (0, 0),
) -> list[Tile]:
    """Tiles whose cores share area with the region, row by row.

    Args:
        region: where cells are counted.
        l0_per_px: level-0 px per px of the lattice.
        core_px: edge of a core, lattice px.
        grid_shift: (x, y) of a core's corner, lattice px.
    """
    columns = _starts(region.slide_size.width / l0_per_px, core_px, grid_shift[0])
    rows = _starts(region.slide_size.height / l0_per_px, core_px, grid_shift[1])
    tiles = (Tile(x, y, core_px) for y in rows for x in columns)
    return [tile for tile in tiles if region.intersects(tile.core_l0(l0_per_px))]


def detect_leukocytes(
    slide: Slide,
    region: CountableRegion,
    detector: SupportsDetect,
    *,
    background: NDArray[np.floating],
    red_cell: NDArray[np.floating],
    core_px: int = CORE_PX,
    grid_shift: tuple[int, int] = (0, 0),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Detections:
    """Find the leukocytes of a slide's countable region.

    Args:
        slide: open.
        region: cells with their centre outside it are dropped.
        detector: its scale, margin and stride decide the tiles.
        background: RGB of the slide's glass, shape (3,), one for the whole slide.
        red_cell: density of the slide's red cells, shape (3,), one for the whole slide.
        core_px: edge of a tile's core at the detector's scale, a multiple of its stride.
        grid_shift: (x, y) of the tile grid at the detector's scale, multiples of its stride. Cells
            do not depend on it; it is there to be tested.
        on_progress: told (tiles done, tiles in total) after every tile, failed ones included; these
            are tried again in parts at the end. What it raises ends the detection: that is how a
            scan is cancelled.

    Returns:
        Cells, sorted by y, then x, and what could not be read.

    Raises:
        ValueError: core or shift are no multiples of the detector's stride.
    """
    card = detector.card
    if any(value % card.stride_px for value in (core_px, *grid_shift)):
        raise ValueError(
            f"a tile core of {core_px} px shifted by {grid_shift}: both must be multiples of the "
            f"detector's stride of {card.stride_px} px"
        )
    um_per_px_l0 = slide.info.um_per_px
    l0_per_px = card.um_per_px / um_per_px_l0
    tiles = plan_tiles(region, l0_per_px, core_px=core_px, grid_shift=grid_shift)
    rim_px = card.margin_px - int(np.ceil(OWNERSHIP_SLACK_PX))
    found: list[Peak] = []
    unread: list[Region] = []
    failed: set[int] = set()
    parts = list(enumerate(tiles))
    done = 0
    while parts:
        windows = [part.window_l0(l0_per_px, card.margin_px) for _, part in parts]
        again: list[tuple[int, Tile]] = []
        for place, pixels in slide.read_each(windows, card.um_per_px):
            index, part = parts[place]
            if isinstance(pixels, RegionUnreadable):
                quarters = _split(part, card.stride_px)
                if not quarters:
                    unread.append(part.core_l0(l0_per_px))
                    failed.add(index)
                wanted = (q for q in quarters if region.intersects(q.core_l0(l0_per_px)))
                again += [(index, quarter) for quarter in wanted]
            else:
                (peaks,) = detector.detect(pixels[None], background, red_cell, rim_px=rim_px)
                found += _place_peaks(part, peaks, card)
            if done < len(tiles):
                done += 1
                on_progress(done, len(tiles))
        parts = again
    cells, doubtful = (
        _place_cells(kind, region, l0_per_px, um_per_px_l0) for kind in judge_peaks(found, card)
    )
    return Detections(
        cells=tuple(sorted(cells, key=lambda cell: (cell.y_px, cell.x_px))),
        doubtful=tuple(doubtful),
        tiles=len(tiles),
        tiles_failed=len(failed),
        area_mm2=region.area_mm2(um_per_px_l0),
        unread_mm2=_covered_mm2(region, unread, um_per_px_l0),
    )


def _starts(extent_px: float, core_px: int, shift_px: int) -> range:
    """Where cores begin so that 0 to extent is covered."""
    first = shift_px % core_px
    return range(first - core_px if first else 0, int(np.ceil(extent_px)), core_px)


def _split(tile: Tile, stride_px: int) -> list[Tile]:
    """A tile's quarters, or nothing where they would be too small or off the lattice."""
    half = tile.core_px // 2
    return tile.quarters() if half >= SMALLEST_CORE_PX and half % stride_px == 0 else []


def _place_peaks(tile: Tile, peaks: Sequence[Peak], card: DetectorCard) -> list[Peak]:
    """A tile's own peaks, moved from its window to the lattice."""
    x0, y0 = tile.x - card.margin_px, tile.y - card.margin_px
    placed = [Peak(peak.x + x0, peak.y + y0, peak.diameter_um, peak.score) for peak in peaks]
    return [peak for peak in placed if tile.owns(peak.x, peak.y)]


def _place_cells(
    peaks: Sequence[Peak], region: CountableRegion, l0_per_px: float, um_per_px_l0: float
) -> Iterator[Detection]:
    """Peaks on the lattice whose centre is in the region, in the level-0 frame."""
    for peak in peaks:
        x, y = peak.x * l0_per_px, peak.y * l0_per_px
        if region.contains(x, y):
            cut = _is_cut(region, x, y, peak.diameter_um / 2 / um_per_px_l0)
            yield Detection(x, y, peak.diameter_um, peak.score, cut)


def _is_cut(region: CountableRegion, x: float, y: float, radius_px: float) -> bool:
    """Whether a circle of the level-0 frame leaves the countable region."""
    angles = np.arange(RIM_POINTS) * (2 * np.pi / RIM_POINTS)
    rim = zip(
        (x + radius_px * np.cos(angles)).tolist(),
        (y + radius_px * np.sin(angles)).tolist(),
        strict=True,
    )
    return not all(region.contains(*point) for point in rim)


def _covered_mm2(region: CountableRegion, parts: Sequence[Region], um_per_px: float) -> float:
    """Countable area inside disjoint rectangles, mm²."""
    rectangles = region.rectangles()
    shared = (_overlap(part, rectangle) for part in parts for rectangle in rectangles)
    return sum(shared) * um_per_px**2 / 1e6


def _overlap(one: Region, other: Region) -> float:
    """Area two rectangles share."""
    width = min(one.right, other.right) - max(one.x, other.x)
    height = min(one.bottom, other.bottom) - max(one.y, other.y)
    return max(width, 0.0) * max(height, 0.0)
