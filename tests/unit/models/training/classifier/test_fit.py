import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.errors import ModelError
from models.training.classifier.fit import Saving, fit
from models.training.classifier.recipe import EarlyStopping
from models.training.classifier.run import RunError, load_run
from models.training.evaluation.predictions import predict_cells
from tests.training_runs import COLOURS, RECIPE, register_tiny, write_cells

ROOT = Path(__file__).parents[5]

# Lightning warns of its own dependencies and of a loader without worker processes.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:lightning.*")


@pytest.fixture(autouse=True)
def tiny():
    register_tiny()


def network_state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def run_in_a_process(*arguments: object, launcher: tuple[str, ...] = ()) -> int:
    command = [sys.executable, *launcher, "-m", "tests.training_runs", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300).returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of 4 epochs of 6 steps that was never stopped, beside the cells it was fitted to."""
    register_tiny()
    folder = tmp_path_factory.mktemp("run")
    fit(RECIPE, write_cells(folder, per_class=12), out=folder / "whole")
    return folder


@pytest.mark.parametrize("step", [8, 12, 15])
def test_a_run_killed_in_or_between_epochs_resumes_to_the_same_weights(whole, tmp_path, step):
    died = run_in_a_process(whole, tmp_path / "run", step)
    assert died == -signal.SIGKILL
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    assert saved == step
    fit(RECIPE, write_cells(whole, per_class=12), out=tmp_path / "run")
    before, after = network_state(whole / "whole"), network_state(tmp_path / "run")
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=0, msg=name)


def test_a_killed_run_is_not_taken_for_a_finished_one(whole, tmp_path):
    run_in_a_process(whole, tmp_path / "run", 15)
    with pytest.raises(RunError, match="not finished"):
        load_run(tmp_path / "run")


def test_two_processes_under_torchrun_train_one_run(whole, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert run_in_a_process(whole, tmp_path / "run", launcher=launcher) == 0
    over = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert over == {"epochs": 4, "steps": 24, "stopped_early": False}
    promised = json.loads((tmp_path / "run" / "projection.json").read_text())
    assert (promised["devices"], promised["steps_per_epoch"]) == (2, 6)
    cells = write_cells(whole, per_class=12)
    predictions = predict_cells(load_run(tmp_path / "run"), cells)
    assert len(predictions.cells) == len(cells)


def test_a_trained_network_knows_its_cells_and_masks_the_classes_it_never_saw(whole, tmp_path):
    cells = write_cells(whole, per_class=12)
    recipe = replace(RECIPE, stages=((40, 48),))
    fit(recipe, cells, out=tmp_path / "run", saving=Saving(crops=tmp_path / "crops"))
    classifier = load_run(tmp_path / "run")
    assert len(classifier.card.unsupported_classes) == 15 - len(COLOURS)
    predictions = predict_cells(classifier, cells)
    named = predictions.probabilities.argmax(1)
    assert [classifier.card.classes[i] for i in named] == predictions.labels


def test_a_run_is_not_resumed_with_another_recipe_or_other_cells(whole):
    with pytest.raises(RunError, match="another recipe"):
        fit(
            replace(RECIPE, learning_rate=0.01),
            write_cells(whole, per_class=12),
            out=whole / "whole",
        )
    with pytest.raises(RunError, match="another data"):
        fit(RECIPE, write_cells(whole, per_class=11), out=whole / "whole")


def test_a_try_leaves_a_projection_and_no_checkpoint(whole, tmp_path):
    fit(RECIPE, write_cells(whole, per_class=12), out=tmp_path / "run", try_steps=8)
    promised = json.loads((tmp_path / "run" / "projection.json").read_text())
    assert promised["steps_per_epoch"] == 6
    assert promised["epoch_h"] == pytest.approx(promised["step_s"] * 6 / 3600, abs=1e-3)
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_a_run_that_learns_nothing_new_stops_early_and_never_before_its_least_epochs(
    whole, tmp_path
):
    still = replace(
        RECIPE,
        stages=((30, 32),),
        learning_rate=1e-12,
        early_stopping=EarlyStopping(patience=2, min_epochs=5, share=0.25),
    )
    fit(still, write_cells(whole, per_class=12), out=tmp_path / "run")
    over = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert over["stopped_early"]
    assert 5 <= over["epochs"] < 30


def test_fewer_draws_than_a_batch_are_refused(whole, tmp_path):
    with pytest.raises(ModelError, match="a batch takes 600"):
        fit(
            replace(RECIPE, batch_size=600),
            write_cells(whole, per_class=12),
            out=tmp_path / "run",
        )


def test_unreadable_files_are_named_in_the_record_of_the_run(tmp_path):
    cells = write_cells(tmp_path, per_class=12)
    cells[0].path.write_bytes(b"not an image")
    fit(RECIPE, cells, out=tmp_path / "run")
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["unreadable"] == ["MYO0.png"]
    assert data["cells"] == len(cells) - 1
