import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.card import ClassifierCard, load_card
from models.catalogue import CARD_FILE, WEIGHTS_FILE
from models.errors import ModelError, WeightsCorrupt
from models.golden import check_golden
from models.predictor import Classifier
from models.taxonomy import CODES, CellClass
from models.training.classifier.calibration import CalibrationError
from models.training.classifier.export import (
    Validation,
    export_classifier,
    plan_validation,
    recalibrate_classifier,
)
from models.training.classifier.fit import fit
from models.training.classifier.run import FINISHED, RunError
from models.training.cli import train
from models.training.data.manifest import LabelledCell, Stranger, write_manifest
from models.training.evaluation.bootstrap import REPLICATES, SEED
from models.training.evaluation.cell_figures import Part, measure_cells
from models.training.evaluation.predictions import predict_cells
from models.training.evaluation.source_figures import complete_figures
from tests.training_runs import COLOURS, RECIPE, register_tiny, write_cells

# Lightning warns of its own dependencies and of a loader without worker processes.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:lightning.*")


@pytest.fixture(autouse=True)
def tiny():
    register_tiny()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run, beside the cells it was fitted to."""
    register_tiny()
    folder = tmp_path_factory.mktemp("trained")
    recipe = replace(RECIPE, stages=((40, 48),))
    fit(recipe, write_cells(folder, per_class=16), out=folder / "run")
    return folder


@pytest.fixture(scope="module")
def exported(trained) -> ClassifierCard:
    register_tiny()
    cells = write_cells(trained, per_class=16)
    return export_classifier(
        trained / "run",
        trained / "tiny-1",
        validation=Validation(cells, ["lab"], "lab"),
        version="1",
    )


def test_a_trained_run_is_exported_loaded_and_right(trained, exported):
    assert exported == load_card(trained / "tiny-1")
    assert set(CODES) - set(exported.unsupported_classes) == set(COLOURS)
    assert exported.evaluation["lab"].accuracy == 1.0
    assert exported.blast.specificity >= 0.95
    assert "over 16 patients or groups" in exported.blast.basis
    assert exported.training[0].cells == 48
    classifier = Classifier.load("tiny-1", root=trained)
    probabilities = classifier.predict(np.full((2, 400, 400, 3), 200, np.uint8))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    for code in exported.unsupported_classes:
        assert (probabilities[:, CODES.index(code)] == 0).all()


def test_the_cards_figures_are_those_of_the_weights_as_they_are_loaded(trained, exported):
    cells = write_cells(trained, per_class=16)
    served = predict_cells(Classifier.load("tiny-1", root=trained), cells)
    detail = {
        "lab": measure_cells(
            [Part(served, None, frozenset(exported.unsupported_classes))],
            replicates=REPLICATES,
            seed=SEED,
        )
    }
    complete = complete_figures(
        served.per_source(exported), detail, served, temperature=exported.temperature
    )["lab"]
    recorded = exported.evaluation["lab"]
    assert recorded.intervals["accuracy"] == (1.0, 1.0)
    assert recorded.risk_coverage[0].coverage == 1.0
    assert {cut.group for cut in recorded.cuts} == {"blast", "atypical"}
    assert recorded.ece_uncalibrated == pytest.approx(complete.ece_uncalibrated, abs=1e-6)
    same = {"ece": recorded.ece, "ece_uncalibrated": recorded.ece_uncalibrated}
    assert complete.model_copy(update=same) == recorded


def test_weights_are_calibrated_anew_and_their_tensors_stay_as_they_are(trained, exported):
    cells = write_cells(trained, per_class=16)
    stranger = Stranger(cells[0].path, "lab", "plasma cell", "p0", cells[0].um_per_px)
    validation = Validation(cells, ["lab"], "lab", [stranger])
    again = recalibrate_classifier(
        trained / "tiny-1", trained / "tiny-2", validation=validation, version="2"
    )
    assert (again.name, again.version, again.sha256) == ("tiny-2", "2", exported.sha256)
    assert again.temperature == pytest.approx(exported.temperature)
    assert again.blast == exported.blast
    assert again.rejection is not None
    assert again.rejection.strangers["plasma cell"].cells == 1


def test_a_card_has_the_errors_over_patients_and_the_limits_of_its_flags(exported):
    assert exported.blast.errors is not None
    assert exported.blast.errors.sensitivity.patients == 16
    assert exported.abstention is not None
    assert exported.abstention.below == 0.0  # every label is right
    assert exported.rejection is not None
    assert exported.rejection.strangers == {}


def test_golden_outputs_are_written_and_hold(trained, exported):
    assert check_golden(Classifier.load("tiny-1", root=trained), trained / "tiny-1") < 1e-5


def test_damaged_weights_of_an_export_are_refused(trained, exported, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / CARD_FILE).write_bytes((trained / "tiny-1" / CARD_FILE).read_bytes())
    (tmp_path / "bad" / WEIGHTS_FILE).write_bytes(b"not weights")
    with pytest.raises(WeightsCorrupt):
        Classifier.load("bad", root=tmp_path)


def test_an_unfinished_run_is_not_exported(trained, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("recipe.json", "data.json", "last.ckpt"):
        (run / name).write_bytes((trained / "run" / name).read_bytes())
    cells = write_cells(trained, per_class=16)
    with pytest.raises(RunError, match="not finished"):
        export_classifier(run, tmp_path / "out", validation=plan_validation(cells), version="1")
    assert not (tmp_path / "out").exists()
    (run / FINISHED).write_bytes((trained / "run" / FINISHED).read_bytes())
    export_classifier(run, tmp_path / "out", validation=plan_validation(cells), version="1")
    assert (tmp_path / "out" / CARD_FILE).is_file()


def test_an_export_that_fails_leaves_no_card(trained, tmp_path):
    cells = write_cells(trained, per_class=16)
    for _ in range(2):
        with pytest.raises(CalibrationError):
            export_classifier(
                trained / "run",
                tmp_path / "out",
                validation=Validation(cells, ["elsewhere"], "lab"),
                version="1",
            )
        assert not (tmp_path / "out" / CARD_FILE).exists()
        (tmp_path / "out" / CARD_FILE).write_text("{}")


def test_the_command_exports_with_the_sources_that_the_manifest_has(trained, tmp_path):
    cells = [replace(cell, split="val") for cell in write_cells(trained, per_class=16)]
    write_manifest(tmp_path / "cells.csv", cells)
    arguments = ["export", "--run", trained / "run", "--out", tmp_path / "weights-3"]
    arguments += ["--manifest", tmp_path / "cells.csv", "--root", trained]
    done = CliRunner().invoke(train, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == json.loads((tmp_path / "weights-3" / CARD_FILE).read_text())
    done = CliRunner().invoke(train, [*map(str, arguments), "--split", "test"])
    assert done.exit_code == 1
    assert "no source of no cells" in done.output


def cells_of(source: str, *labels: CellClass) -> list[LabelledCell]:
    return [LabelledCell(Path(f"{source}{c}"), source, c, "", 0.1) for c in labels]


def test_thresholds_are_set_on_the_one_source_that_has_both_kinds_of_cells():
    healthy = cells_of("pbc", CellClass.NGS, CellClass.PMO)
    leukemia = cells_of("deepapl", CellClass.NGS, CellClass.MYO)
    planned = plan_validation(healthy + leukemia)
    assert (planned.temperature_sources, planned.threshold_source) == (
        ["deepapl", "pbc"],
        "deepapl",
    )
    with pytest.raises(ModelError, match="on no source of pbc"):
        plan_validation(healthy)
    with pytest.raises(ModelError, match="on deepapl or lmu of"):
        plan_validation(leukemia + cells_of("lmu", CellClass.NGS, CellClass.MYO))
