"""How well the monolayer's tiles are told from the rest, on demo slides whose regions are known.

    python -m benchmarks.monolayer_auc [SEEDS [MM2 ...]]

renders slides of each area (default 1, 2 and 5 mm²) with seeds 0 to SEEDS - 1 (default 6) and, for
each, prints the chance that a tile of the monolayer scores above one of the thick end or of glass.
A tile is what its centre is; the feathered end, single cells that thin out, is neither.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from skimage.measure import points_in_poly

from worker.demo import DemoTruth, Zone, write_demo_slide
from worker.monolayer import MonolayerMap, map_monolayer
from worker.slide.opening import open_slide

UM_PER_PX = 0.25


def find_zones(found: MonolayerMap, truth: DemoTruth) -> dict[Zone, NDArray[np.bool_]]:
    """Which tiles have their centre in each zone, shape (rows, cols)."""
    rows, cols = found.tiles.shape
    x, y = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    centres = np.stack([x.ravel(), y.ravel()], axis=1) * found.tile_l0
    return {
        zone: np.any(
            [points_in_poly(centres, part.polygon) for part in truth.regions if part.kind is zone],
            axis=0,
        ).reshape(rows, cols)
        for zone in Zone
    }


def measure_auc(found: MonolayerMap, truth: DemoTruth, *others: Zone) -> float:
    """Area under the curve of the tiles' score, monolayer against other zones; ties count half.

    NaN where a slide has no tile of one side.
    """
    zones = find_zones(found, truth)
    single = found.tiles["score"][zones[Zone.MONOLAYER]][:, None]
    other = found.tiles["score"][np.any([zones[zone] for zone in others], axis=0)]
    if not (single.size and other.size):
        return float("nan")
    return float((single > other).mean() + 0.5 * (single == other).mean())


def map_demo(path: Path, *, mm2: float, seed: int) -> tuple[MonolayerMap, DemoTruth]:
    """Render a slide and map it."""
    truth = write_demo_slide(path, mm2=mm2, seed=seed, um_per_px=UM_PER_PX)
    with open_slide(path) as slide:
        return map_monolayer(slide), truth


def main(seeds: int = 6, *areas: float) -> None:
    """Print a line a slide, then the least."""
    least = 1.0
    with TemporaryDirectory() as folder:
        for mm2 in areas or (1.0, 2.0, 5.0):
            for seed in range(seeds):
                found, truth = map_demo(Path(folder, "slide.tiff"), mm2=mm2, seed=seed)
                both, thick, glass = (
                    measure_auc(found, truth, *zones)
                    for zones in ((Zone.THICK, Zone.GLASS), (Zone.THICK,), (Zone.GLASS,))
                )
                least = min(least, both)
                print(
                    f"{mm2:4g} mm²  seed {seed:2}  {found.tiles.size:4} tiles  AUC {both:.3f}"
                    f"  against thick {thick:.3f}  glass {glass:.3f}",
                    flush=True,
                )
    print(f"least {least:.3f}")


if __name__ == "__main__":
    numbers = [float(argument) for argument in sys.argv[1:]]
    main(int(numbers[0]), *numbers[1:]) if numbers else main()
