"""Golden outputs: what a classifier said at its export, to be said again wherever it is served.

A hash shows that the weights arrived whole; only a computed answer shows that the installation
(PyTorch, its kernels, the preprocessing) turns them into the same probabilities. `golden.json` lies
beside the card. Its input is drawn by integer arithmetic, so it is the same bytes everywhere.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import GoldenMismatch, WeightsCorrupt, WeightsUnavailable
from models.predictor import Classifier
from models.taxonomy import CODES, CellClass

GOLDEN_FILE: Final = "golden.json"

TOLERANCE: Final = 1e-4
"""Largest difference of a probability in float32 on a CPU. Measured with the served weights over
thread counts, batch sizes, memory layouts, and with and without oneDNN: at most 5e-7; other CPUs
are given more room."""

TOLERANCE_ACCELERATOR: Final = 5e-3
"""The same elsewhere: CUDA convolves in TF32 by default, with 10 bits of mantissa. Not measured
there; bfloat16 with its 7 bits moved the served weights' probabilities by 4e-3 on a CPU."""

SIDE: Final = 400
GLASS: Final = (238, 228, 232)

_CELLS: Final = (
    # radius and colour of the cell; then (dx, dy, radius) of its nucleus' lobes, and its colour
    (68, (196, 180, 224), ((-6, 4, 58),), (92, 46, 140)),
    (88, (226, 196, 206), ((-34, -20, 30), (6, 28, 28), (38, -16, 26)), (96, 52, 136)),
    (98, (158, 164, 208), ((-10, 8, 84),), (118, 60, 158)),
    (92, (222, 150, 140), ((-30, 0, 34), (32, 10, 34)), (104, 60, 140)),
)


class Golden(BaseModel):
    """Content of `golden.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    input_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the patches' bytes.")
    classes: tuple[CellClass, ...]
    probabilities: tuple[tuple[float, ...], ...] = Field(description="A row a patch.")
    tolerance: Annotated[float, Field(gt=0, lt=1, description="On a CPU, float32.")]
    tolerance_accelerator: Annotated[float, Field(gt=0, lt=1, description="Elsewhere.")]
    torch: str = Field(description="Version that computed them, on a CPU.")


def golden_patches() -> NDArray[np.uint8]:
    """Four cells roughly like a stained lymphocyte, neutrophil, blast and eosinophil.

    Returns:
        RGB, shape (4, 400, 400, 3), 0–255: the same bytes on every machine.
    """
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.int64)
    patches = np.empty((len(_CELLS), SIDE, SIDE, 3), np.int64)
    for index, (radius, plasm, lobes, chromatin) in enumerate(_CELLS):
        image = np.empty((SIDE, SIDE, 3), np.int64)
        image[:] = GLASS
        for red_x, red_y in ((40, 60 + 30 * index), (350, 330 - 20 * index), (330, 40)):
            distance = (x - red_x) ** 2 + (y - red_y) ** 2
            image[distance < 52**2] = (214, 160, 168)
            image[distance < 24**2] = (226, 190, 194)
        image[(x - 200) ** 2 + (y - 200) ** 2 < radius**2] = plasm
        for dx, dy, lobe in lobes:
            image[(x - 200 - dx) ** 2 + (y - 200 - dy) ** 2 < lobe**2] = chromatin
        # blocks of 4 px, hashed, give the cell a grain; and of 16 px the field a slow change
        image += _hash(x // 4, y // 4, index)[:, :, None] % 25 - 12
        image += _hash(x // 16, y // 16, index + 100)[:, :, None] % 9 - 4
        patches[index] = image
    return np.clip(patches, 0, 255).astype(np.uint8)


def write_golden(classifier: Classifier, directory: Path) -> Golden:
    """Compute and write `golden.json` of weights as they will be loaded, on a CPU."""
    patches = golden_patches()
    golden = Golden(
        weights_sha256=classifier.card.sha256,
        input_sha256=_digest(patches),
        classes=CODES,
        probabilities=tuple(
            tuple(round(float(p), 9) for p in row) for row in classifier.predict(patches)
        ),
        tolerance=TOLERANCE,
        tolerance_accelerator=TOLERANCE_ACCELERATOR,
        torch=torch.__version__,
    )
    (directory / GOLDEN_FILE).write_text(golden.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return golden


def check_golden(classifier: Classifier, directory: Path) -> float:
    """Compute the golden outputs anew.

    Args:
        classifier: loaded from `directory`, on the device it is to be served on.
        directory: of the weights, with `golden.json`.

    Returns:
        The largest difference of a probability.

    Raises:
        WeightsUnavailable: there is no `golden.json`.
        WeightsCorrupt: it cannot be read, or is of other weights or other input.
        GoldenMismatch: the difference is beyond the tolerance of the device.
    """
    golden = read_golden(directory)
    name, patches = classifier.card.name, golden_patches()
    if golden.weights_sha256 != classifier.card.sha256:
        raise WeightsCorrupt(
            f"{GOLDEN_FILE} of weights {name!r} is of weights {golden.weights_sha256[:12]}…, the"
            f" card's are {classifier.card.sha256[:12]}…: export or install them again"
        )
    if golden.input_sha256 != _digest(patches):
        raise WeightsCorrupt(
            f"{GOLDEN_FILE} of weights {name!r} was computed on other patches than this version"
            " draws: export or install them again"
        )
    expected = np.array(golden.probabilities, np.float64)
    found = classifier.predict(patches)
    if golden.classes != CODES or expected.shape != found.shape:
        raise WeightsCorrupt(f"{GOLDEN_FILE} of weights {name!r} is not of the 15 classes")
    deviation = float(np.abs(found - expected).max())
    on_cpu = classifier.device.type == "cpu"
    tolerance = golden.tolerance if on_cpu else golden.tolerance_accelerator
    if not deviation <= tolerance:
        raise GoldenMismatch(
            f"weights {name!r} give probabilities {deviation:.2g} from those of their export on"
            f" {classifier.device}, tolerance {tolerance:.2g} (exported with torch {golden.torch},"
            f" this is {torch.__version__}): install the weights and torch again"
        )
    return deviation


def read_golden(directory: Path) -> Golden:
    """Read `golden.json`.

    Raises:
        WeightsUnavailable: there is none.
        WeightsCorrupt: it is damaged.
    """
    path = directory / GOLDEN_FILE
    if not path.is_file():
        raise WeightsUnavailable(f"{GOLDEN_FILE} of weights {directory.name!r} is missing")
    try:
        return Golden.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as err:
        raise WeightsCorrupt(
            f"{GOLDEN_FILE} of weights {directory.name!r} is not valid: {err}"
        ) from err


def _hash(x: NDArray[np.int64], y: NDArray[np.int64], salt: int) -> NDArray[np.int64]:
    """Scrambled 0–65535 of two coordinates; all intermediates fit into 63 bits."""
    value = (x * 73_856_093 + y * 19_349_663 + salt * 83_492_791 + 12_345) & 0x7FFFFFFF
    value = ((value ^ (value >> 15)) * 48_271) & 0x7FFFFFFF
    value = ((value ^ (value >> 13)) * 69_621) & 0x7FFFFFFF
    return (value >> 8) & 0xFFFF


def _digest(patches: NDArray[np.uint8]) -> str:
    return hashlib.sha256(patches.tobytes()).hexdigest()
