"""Is this installation able to scan? Versions, device, weights, and a slide scanned for real."""

import json
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from models.catalogue import (
    CARD_FILE,
    DEFAULT_CLASSIFIER,
    WEIGHTS_FILE,
    WEIGHTS_ROOT,
    hash_file,
)
from models.errors import ModelError
from models.golden import GOLDEN_FILE, check_golden
from models.predictor import Classifier
from service.contract.failure import AnalysisError
from service.contract.scan import RegionChoice, ScanParameters
from service.contract.settings import AnalysisSettings
from worker.cpus import usable_cpus
from worker.demo import write_demo_slide
from worker.inference import LocalPredictor, default_device
from worker.pipeline import scan_slide
from worker.results import write_results

LIBRARIES: Final = (
    "smearscan",
    "torch",
    "openslide-python",
    "openslide-bin",
    "tifffile",
    "imagecodecs",
    "simplejpeg",
    "scikit-image",
    "numpy",
)


SELF_TEST_MM2: Final = 0.05
"""Area of the slide that is rendered and scanned."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination."""

    what: str
    ok: bool
    detail: str


def examine(*, device: str | None = None, root: Path = WEIGHTS_ROOT) -> Iterator[Finding]:
    """Check the installation, cheapest first; yields as it goes.

    Args:
        device: to run the self-test on; the default device if None.
        root: where the weights that are looked at lie.
    """
    yield Finding("python", True, platform.python_version())
    for library in LIBRARIES:
        yield _library(library)
    yield Finding("device", True, f"{device or default_device()}, {usable_cpus()} usable CPUs")
    for card in sorted(root.glob(f"*/{CARD_FILE}")):
        yield _weights(card.parent)
    for directory in sorted(
        {root / DEFAULT_CLASSIFIER} | {golden.parent for golden in root.glob(f"*/{GOLDEN_FILE}")}
    ):
        yield _outputs(directory, device or default_device())
    yield _self_test(device)


def _library(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, 'not installed: pip install "smearscan[worker]"')


def _weights(directory: Path) -> Finding:
    what = f"weights {directory.name}"
    try:
        expected = json.loads((directory / CARD_FILE).read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        return Finding(what, False, f"{CARD_FILE} cannot be read: install the package again")
    path = directory / WEIGHTS_FILE
    if not path.is_file():
        return Finding(what, False, f"{WEIGHTS_FILE} is missing: install the package again")
    found = hash_file(path)
    if found != expected:
        return Finding(what, False, f"sha256 {found[:12]}… is not the card's {expected[:12]}…")
    return Finding(what, True, f"sha256 {found[:12]}… as the card says")


def _outputs(directory: Path, device: str) -> Finding:
    """Do the weights give the probabilities here that they gave at their export?"""
    what = f"outputs {directory.name}"
    try:
        classifier = Classifier.load(str(directory), device=device).fuse()
        deviation = check_golden(classifier, directory)
    except ModelError as err:
        return Finding(what, False, str(err))
    return Finding(what, True, f"within {deviation:.1g} of those at export")


def _self_test(device: str | None) -> Finding:
    """Render a tiny slide, scan it and write its results."""
    with tempfile.TemporaryDirectory() as folder:
        slide, out = Path(folder) / "slide.tiff", Path(folder) / "results"
        planted = len(write_demo_slide(slide, mm2=SELF_TEST_MM2, seed=1).leukocytes)
        try:
            results = scan_slide(
                slide,
                LocalPredictor.load(device=device),
                scan_id="doctor",
                parameters=ScanParameters(region=RegionChoice.ALL),
                settings=AnalysisSettings(),
            )
            write_results(out, results)
        except AnalysisError as err:
            return Finding("self-test", False, f"{err.code}: {err.message}")
        found = results.report.n_cells
    seconds = sum(results.report.timings.values())
    return Finding(
        "self-test",
        found > 0,
        f"{found} cells found on a synthetic slide of {planted}, in {seconds:.1f} s",
    )
