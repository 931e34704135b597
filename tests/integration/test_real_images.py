"""The served networks on real smears; skipped where the images are absent."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from models.taxonomy import CODES
from service.cli import main
from service.contract.failure import FailureCode, SlideError
from service.contract.scan import ScanParameters
from service.contract.settings import AnalysisSettings
from worker.demo import write_image_pyramid
from worker.inference import LocalPredictor
from worker.pipeline import scan_slide
from worker.slide.opening import open_slide

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def predictor() -> LocalPredictor:
    return LocalPredictor.load(device="cpu")


@pytest.fixture
def mosaic(real_data, tmp_path):
    """A function that makes a pyramid without resolution of a patient's stitched area."""

    def make(patient: str):
        (source,) = (real_data / "mosaics").glob(f"{patient}_*.jpg")
        pixels = np.asarray(Image.open(source).convert("RGB"))
        write_image_pyramid(tmp_path / "mosaic.tiff", pixels, um_per_px=None)
        return tmp_path / "mosaic.tiff"

    return make


@pytest.mark.parametrize(
    ("patient", "fewest", "most"), [("p00", 0, 3), ("p10", 33, 50), ("p08", 223, 240)]
)
def test_leukocytes_of_a_real_smear_are_found_and_empty_ones_stay_empty(
    mosaic, predictor, patient, fewest, most
):
    report = scan_slide(
        mosaic(patient),
        predictor,
        scan_id="real",
        parameters=ScanParameters(um_per_px=0.2),
        settings=AnalysisSettings(),
    ).report
    assert fewest <= report.n_cells <= most
    assert report.region.area_mm2 > 0.3
    assert report.slide.um_per_px_source == "request"


def test_a_real_smear_without_a_resolution_is_not_guessed(mosaic):
    with pytest.raises(SlideError) as caught:
        open_slide(mosaic("p00"))
    assert caught.value.code is FailureCode.RESOLUTION_MISSING


def used_rows(rows, source):
    """Rows of a source that are evaluated: not trained on, and of one of the 15 codes."""
    return [
        row
        for row in rows
        if row["source"] == source and row["split"] != "train" and row["label"] in CODES
    ]


def test_evaluate_prints_figures_per_source_and_counts_what_it_leaves_out(real_data, tmp_path):
    with (real_data / "cells.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    chosen = [row for row in rows if row["split"] == "val"][::12]
    chosen += [row for row in rows if row["source"] == "lmu" or row["split"] == "train"][:20]
    manifest = tmp_path / "cells.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(chosen)
    done = CliRunner().invoke(
        main,
        ["train", "evaluate", "--manifest", str(manifest), "--root", str(real_data), "--json"],
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    used = [row for row in chosen if row["split"] != "train"]
    assert sum(source["n"] for source in result["sources"].values()) == len(used) - sum(
        result["left_out"].values()
    )
    assert result["left_out"]["artefact"] >= 1
    assert result["sources"]["deepapl"]["blast_auc"] > 0.85
    figure = result["figures"]["deepapl"]["blast_auc"]
    assert figure["value"] == result["sources"]["deepapl"]["blast_auc"]
    assert figure["ci95"][0] < figure["value"] < figure["ci95"][1]
    patients = {row["patient"] for row in used_rows(chosen, "deepapl")}
    assert result["figures"]["deepapl"]["units"] == {"patients": len(patients)}
    assert result["figures"]["pbc"]["units"] == {"cells": result["sources"]["pbc"]["n"]}
    assert result["unsupported_classes"] == ["MOB", "PMB"]
