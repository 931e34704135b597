"""From labelled crops to weights that scan: prepare, crossval, evaluate, fit, export."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from models.predictor import Classifier
from models.taxonomy import CODES
from models.training.cli import train
from models.training.data.manifest import read_manifest
from models.training.evaluation.crossvalidation import read_crossval
from models.training.evaluation.predictions import predict_cells
from tests.training_runs import COLOURS, UM_PER_PX, register_tiny, write_cells

ROOT = Path(__file__).parents[2]
RECIPE = """
network = "tiny"
stages = [[12, 48]]
batch_size = 6
learning_rate = 0.03
ema_decay = 0.8
precision = "32-true"
"""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::Warning:lightning.*"),
]


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(train, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done


def start(*arguments: object) -> subprocess.Popen:
    """In a process of its own: tests before this one may have changed this one's threads, and
    weights are the same to the bit on the same number of threads only.
    """
    code = "import tests.training_runs; from service.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> Path:
    """72 crops of 24 patients and three classes in two laboratories, and a manifest of them."""
    folder = tmp_path_factory.mktemp("crops")
    cells = write_cells(folder, per_class=24)
    with (folder / "labelled.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "source", "label", "patient", "split", "um_per_px"])
        for cell in cells:
            lab = "east" if int(cell.patient[1:]) % 2 else "west"
            split = "val" if int(cell.patient[1:]) % 5 == 0 else "train"
            writer.writerow([cell.name, lab, cell.label, cell.patient, split, UM_PER_PX])
        writer.writerow(["MYO0.png.bak", "east", "artefact", "p0", "train", UM_PER_PX])
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def prepared(crops) -> Path:
    run(
        *("prepare", "--manifest", crops / "labelled.csv", "--root", crops, "--folds", 3),
        *("--out", crops / "cells.csv", "--no-duplicates"),
    )
    return crops / "cells.csv"


def crossval_command(crops: Path, prepared: Path, out: Path) -> tuple[object, ...]:
    command = ("crossval", "--manifest", prepared, "--root", crops, "--out", out)
    return (*command, "--recipe", crops / "tiny.toml", "--save-every", 1, "--accelerator", "cpu")


@pytest.fixture(scope="module")
def crossval(crops, prepared) -> Path:
    register_tiny()
    assert start(*crossval_command(crops, prepared, crops / "crossval")).wait(300) == 0
    return crops / "crossval"


def test_each_image_lies_in_one_fold_with_all_of_its_patient(crops, prepared):
    cells = read_manifest(prepared, root=crops).cells
    assert len({cell.name for cell in cells}) == len(cells) == 72
    per_fold = Counter((cell.fold, cell.label) for cell in cells)
    assert set(per_fold) == {(fold, code) for fold in (1, 2, 3) for code in COLOURS}
    assert set(per_fold.values()) == {8}
    folds = {}
    for cell in cells:
        assert folds.setdefault(cell.patient, cell.fold) == cell.fold


def test_every_cell_is_predicted_by_the_one_network_that_never_saw_it(crops, prepared, crossval):
    for fold in read_crossval(crossval):
        expected = {
            c.name for c in read_manifest(prepared, root=crops).cells if c.fold == fold.number
        }
        assert {cell.name for cell in fold.predictions.cells} == expected
        assert fold.data["cells"] == 72 - len(expected)
        np.testing.assert_allclose(fold.predictions.probabilities.sum(1), 1, atol=1e-5)


def test_a_cross_validation_killed_in_its_second_fold_ends_in_the_same_predictions(
    crops, prepared, crossval, tmp_path
):
    command = crossval_command(crops, prepared, tmp_path / "killed")
    process = start(*command)
    begun = tmp_path / "killed" / "fold-2" / "recipe.json"
    deadline = time.monotonic() + 120
    while not begun.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "fold-2" / "finished.json").exists()
    assert start(*command).wait(300) == 0
    for fold in (1, 2, 3):
        for name in ("predictions.csv", "background.csv"):
            whole = (crossval / f"fold-{fold}" / name).read_text()
            assert (tmp_path / "killed" / f"fold-{fold}" / name).read_text() == whole


def test_the_evaluation_counts_every_cell_once_and_its_roc_runs_from_corner_to_corner(
    crops, crossval, tmp_path
):
    out = tmp_path / "evaluation"
    run("evaluate", "--crossval", crossval, "--root", crops, "--out", out, "--bootstrap", 100)
    figures = json.loads((out / "figures.json").read_text())
    assert figures["pooled"]["n"] == 72
    assert {name: part["n"] for name, part in figures["sources"].items()} == {
        "east": 36,
        "west": 36,
    }
    assert figures["pooled"]["accuracy"]["value"] > 0.9
    with (out / "pooled" / "roc-blast.csv").open(newline="") as stream:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
    ends = [(row["false_positive_rate"], row["true_positive_rate"]) for row in (rows[0], rows[-1])]
    assert ends == [(0, 0), (1, 1)]
    assert (out / "report.md").read_text().startswith("#")
    assert (out / "saliency.svg").is_file()


def test_exported_weights_load_by_name_and_name_the_cells(crops, prepared, tmp_path):
    register_tiny()
    common = ("--manifest", prepared, "--root", crops)
    run(
        *("fit", *common, "--out", tmp_path / "run", "--recipe", crops / "tiny.toml"),
        *("--split", "train", "--accelerator", "cpu"),
    )
    out = tmp_path / "mine-1"
    run(
        *("export", "--run", tmp_path / "run", *common, "--split", "val", "--out", out),
        *("--thresholds-on", "east"),
    )
    classifier = Classifier.load(str(out))
    assert set(CODES) - set(classifier.card.unsupported_classes) == set(COLOURS)
    cells = read_manifest(prepared, root=crops, split="val").cells
    predictions = predict_cells(classifier, cells)
    named = [CODES[i] for i in predictions.probabilities.argmax(1)]
    assert np.mean([a == b for a, b in zip(named, predictions.labels, strict=True)]) > 0.9
    done = run("evaluate", "--weights", out, *common, "--split", "val", "--json")
    assert set(json.loads(done.stdout)["sources"]) == {"east", "west"}
