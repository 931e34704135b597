"""A report as a reader's browser shows it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.detector import Detector
from service.contract.scan import RegionChoice, ScanParameters
from service.contract.settings import AnalysisSettings
from tests.networks import ClassifierByDarkness, StandInPredictor
from worker.demo import write_demo_slide
from worker.pipeline import scan_slide
from worker.results import write_results

pytestmark = pytest.mark.e2e

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    folder = tmp_path_factory.mktemp("browser")
    write_demo_slide(folder / "slide.tiff", mm2=0.1, seed=2, leukocytes=15)
    results = scan_slide(
        folder / "slide.tiff",
        StandInPredictor(Detector.load(), ClassifierByDarkness()),
        scan_id="shown",
        parameters=ScanParameters(region=RegionChoice.ALL),
        settings=AnalysisSettings(),
    )
    write_results(folder / "results", results)
    return folder / "results" / "report.html"


def chromium(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def test_a_browser_shows_the_counts_the_galleries_and_what_it_is_not_for(report, tmp_path):
    page = chromium(tmp_path, "--dump-dom", report.as_uri()).stdout
    for text in ("Leukocyte report", "Blasts", "95 % interval", "Highest blast probability"):
        assert text in page
    assert page.count("Research use only. Not for diagnostic use.") >= 2


def test_the_page_is_drawn_with_its_pictures_and_asks_for_nothing_from_outside(report, tmp_path):
    shot = tmp_path / "page.png"
    arguments = (f"--screenshot={shot}", "--window-size=1100,2400", "--enable-logging=stderr")
    done = chromium(tmp_path / "profile", *arguments, report.as_uri())
    assert "Refused to" not in done.stderr
    colours = np.unique(np.asarray(Image.open(shot).convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 5000
