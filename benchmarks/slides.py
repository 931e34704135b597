"""Rendered slides that benchmarks share, and the places on them that are read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import worker.demo
from worker.demo import DemoTruth, load_truth, truth_path, write_demo_slide

CACHE: Final = Path(__file__).parent / ".cache"
PATCH_PX: Final = 400
PATCH_UM: Final = 29.0
"""400 px at 0.0725 µm/px, the demo slide's own scale: nothing is resampled."""
CLUSTER_PITCH_PX: Final = 200
"""14.5 µm, blasts side by side: every patch overlaps its neighbours by half."""

Centres = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class DemoSlide:
    """A rendered slide in the cache.

    Attributes:
        path: of the TIFF.
        truth: what was planted.
        sha256: of the TIFF's bytes; figures of different slides are not compared.
    """

    path: Path
    truth: DemoTruth
    sha256: str


def demo_slide(mm2: float, *, leukocytes: int | None = None, seed: int = 1) -> DemoSlide:
    """A demo slide with these parameters, rendered once for every state of the renderer."""
    CACHE.mkdir(exist_ok=True)
    count = "default" if leukocytes is None else str(leukocytes)
    path = CACHE / f"demo-{mm2:g}mm2-{count}-seed{seed}-{_hash_renderer()}.tiff"
    if not (path.exists() and truth_path(path).exists()):
        print(f"rendering {mm2:g} mm² once, into {CACHE.name}/ …", flush=True)
        unfinished = path.with_name(f"unfinished-{path.name}")
        write_demo_slide(unfinished, mm2=mm2, seed=seed, leukocytes=leukocytes)
        truth_path(unfinished).replace(truth_path(path))
        unfinished.replace(path)
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return DemoSlide(path, load_truth(path), sha256)


def sparse_centres(truth: DemoTruth, count: int) -> Centres:
    """Planted cells far enough from the slide's edge, as a detector lists them: by y, then x.

    Whole px, so that every reader can return the same pixels.
    """
    rim = PATCH_PX / 2
    inside = [
        (float(round(cell.x_px)), float(round(cell.y_px)))
        for cell in truth.leukocytes
        if rim < cell.x_px < truth.width - rim and rim < cell.y_px < truth.height - rim
    ]
    every = np.linspace(0, len(inside) - 1, min(count, len(inside))).round().astype(int)
    return sorted((inside[i] for i in every), key=lambda centre: centre[::-1])


def dense_centres(truth: DemoTruth, count: int) -> Centres:
    """A square of cells side by side in the middle of the slide, each a little off its place."""
    side = int(np.ceil(np.sqrt(count)))
    rng = np.random.default_rng(1)
    jitter = rng.integers(-CLUSTER_PITCH_PX // 4, CLUSTER_PITCH_PX // 4, (side * side, 2))
    columns, rows = np.meshgrid(np.arange(side), np.arange(side))
    places = np.stack([columns.ravel(), rows.ravel()], axis=1) - (side - 1) / 2
    middle = (truth.width // 2, truth.height // 2)
    centres = np.round(places * CLUSTER_PITCH_PX + middle) + jitter
    return sorted(((float(x), float(y)) for x, y in centres[:count]), key=lambda c: c[::-1])


def _hash_renderer() -> str:
    """Of the source that draws a slide: a changed drawing is another slide."""
    digest = hashlib.sha256()
    for path in sorted(Path(worker.demo.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
