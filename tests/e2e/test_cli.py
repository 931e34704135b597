"""The installed command, as a script or a person runs it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.taxonomy import CODES
from worker.demo import write_demo_slide, write_image_pyramid

pytestmark = pytest.mark.e2e

SMEARSCAN = Path(sys.executable).with_name("smearscan")


def smearscan(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(SMEARSCAN), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def slide(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "smear.tiff"
    write_demo_slide(path, mm2=0.2, seed=5, leukocytes=25)
    return path


@pytest.fixture(scope="module")
def scanned(slide) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = slide.parent / "results"
    return out, smearscan("scan", slide, "--out", out, "--region", "all", "--json")


def test_json_prints_the_report_and_nothing_else(scanned):
    out, done = scanned
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "report.json").read_text())


def test_a_scan_writes_the_six_files_of_a_result(scanned):
    out, _ = scanned
    assert sorted(path.name for path in out.iterdir()) == [
        "cells.csv",
        "cells.geojson",
        "cells.parquet",
        "doubtful.csv",
        "report.html",
        "report.json",
    ]


def test_the_csv_has_the_columns_that_scripts_rely_on(scanned):
    out, done = scanned
    with (out / "cells.csv").open(newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    assert reader.fieldnames == [
        *("id", "x_px", "y_px", "diameter_um", "detection_score", "label", "p_blast", "p_atypical"),
        *(f"p_{code}" for code in CODES),
        "flags",
    ]
    assert len(rows) == json.loads(done.stdout)["n_cells"] > 0


def test_a_person_is_told_counts_intervals_and_what_it_is_not_for(slide, tmp_path):
    done = smearscan("scan", slide, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout
    assert "Research use only" in done.stdout


def broken(name: str, folder: Path, slide: Path) -> Path:
    path = folder / "slide.tiff"
    if name == "empty":
        path.touch()
    elif name == "wrong magic":
        path.write_bytes(b"%PDF-1.7\n" + bytes(1000))
    elif name == "truncated":
        path.write_bytes(slide.read_bytes()[:20_000])
    elif name == "no resolution":
        write_image_pyramid(path, np.full((1200, 1200, 3), 230, np.uint8), um_per_px=None)
    elif name == "coarse":
        write_image_pyramid(path, np.full((1200, 1200, 3), 230, np.uint8), um_per_px=0.5)
    elif name == "glass":
        write_image_pyramid(path, np.full((3000, 3000, 3), 230, np.uint8), um_per_px=0.2)
    return path


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing", "slide_unreadable"),
        ("empty", "unsupported_format"),
        ("wrong magic", "unsupported_format"),
        ("truncated", "slide_unreadable"),
        ("no resolution", "resolution_missing"),
        ("coarse", "resolution_unsupported"),
        ("glass", "no_monolayer"),
    ],
)
def test_a_typed_failure_is_an_exit_code_a_code_on_stderr_and_json(name, code, slide, tmp_path):
    path = broken(name, tmp_path, slide)
    done = smearscan("scan", path, "--out", tmp_path / "out", "--json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{code}: ")
    assert "Traceback" not in done.stderr
    assert str(tmp_path) not in done.stderr
    assert json.loads(done.stdout)["code"] == code
    assert not (tmp_path / "out").exists()


def test_unknown_weights_are_a_typed_failure_that_names_the_known_ones(slide, tmp_path):
    done = smearscan("scan", slide, "--out", tmp_path / "out", "--weights", "nonesuch")
    assert done.returncode == 1
    assert done.stderr.startswith("model_unavailable: no weights called 'nonesuch'; available: ")


def test_training_commands_say_what_is_wrong_without_a_traceback(tmp_path):
    (tmp_path / "cells.csv").write_text("path,label\n")
    options = ("--manifest", tmp_path / "cells.csv", "--root", tmp_path)
    done = smearscan("train", "evaluate", *options)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cells.csv lacks the columns ")


def test_a_directory_with_other_files_is_not_written_to(slide, tmp_path):
    (tmp_path / "thesis.docx").touch()
    done = smearscan("scan", slide, "--out", tmp_path)
    assert done.returncode == 2
    assert "thesis.docx" in done.stderr


def test_the_same_demo_slide_comes_from_the_same_seed(tmp_path):
    for name in ("a", "b"):
        done = smearscan("demo-slide", tmp_path / f"{name}.tiff", "--mm2", 0.05, "--seed", 7)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.tiff").read_bytes() == (tmp_path / "b.tiff").read_bytes()


def test_a_demo_slide_is_written_into_a_folder_that_is_not_there_yet(tmp_path):
    path = tmp_path / "new" / "slide.tiff"
    assert smearscan("demo-slide", path, "--mm2", 0.05, "--seed", 7).returncode == 0
    assert path.exists()


def test_more_leukocytes_than_fit_is_said_without_a_traceback(tmp_path):
    path = tmp_path / "slide.tiff"
    done = smearscan("demo-slide", path, "--mm2", 0.05, "--seed", 7, "--leukocytes", 10**6)
    assert done.returncode == 1
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.stderr


def test_doctor_finds_this_installation_healthy():
    done = smearscan("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["healthy"]
    assert report["findings"][-1]["what"] == "self-test"
