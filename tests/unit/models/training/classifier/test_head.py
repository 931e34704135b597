from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from models.card import load_card
from models.predictor import Classifier
from models.taxonomy import CODES, INDEX, CellClass
from models.training.classifier.export import write_weights
from models.training.classifier.head import (
    PLAIN,
    Features,
    HeadError,
    collect_features,
    collect_view,
    find_head,
    fit_head,
    replace_head,
)
from models.training.cli import train
from models.training.data.manifest import LabelledCell, write_manifest
from tests.cards import make_card
from tests.training_runs import COLOURS, build_tiny, register_tiny, write_cells

UNSUPPORTED = tuple(code for code in CODES if code not in COLOURS)


def made_cells(labels: list[CellClass], sources: list[str]) -> list[LabelledCell]:
    return [
        LabelledCell(Path(f"{i}"), source, label, "", 0.1, name=f"{i}")
        for i, (label, source) in enumerate(zip(labels, sources, strict=True))
    ]


@pytest.fixture
def tiny() -> Classifier:
    register_tiny()
    torch.manual_seed(0)
    return Classifier(build_tiny(len(CODES)), make_card(network="tiny", input_px=48))


def test_a_refitted_layer_names_cells_that_a_random_one_does_not(tiny, tmp_path):
    cells = write_cells(tmp_path, per_class=8)
    views = [collect_features(tiny, cells, how=PLAIN, seed=seed) for seed in (0, 1)]
    weight, bias = fit_head(views, cells, class_power=0.0, strength=100.0)
    replace_head(tiny.network, weight, bias)
    scores = views[0].values.astype(np.float32) @ weight.T + bias
    unsupported = [INDEX[code] for code in CODES if code not in COLOURS]
    assert (weight[unsupported] == 0).all()
    scores[:, unsupported] = -np.inf
    assert [CODES[i] for i in scores.argmax(1)] == [cell.label for cell in cells]
    assert torch.equal(find_head(tiny.network).weight, torch.from_numpy(weight))


def test_the_sources_of_a_class_weigh_alike():
    # ten cells of one laboratory say MYO lies at +1, two of another say −1; NGS lies at 0
    labels = [CellClass.MYO] * 12 + [CellClass.NGS] * 12
    sources = ["big"] * 10 + ["small"] * 2 + ["big"] * 12
    values = np.array([[1.0, 1]] * 10 + [[-1.0, 1]] * 2 + [[0.0, 1]] * 12, np.float16)
    views = [Features(values, np.arange(24))]
    slopes = []
    for given in (sources, ["big"] * 24):
        weight, _ = fit_head(views, made_cells(labels, given), class_power=0.0, strength=1.0)
        slopes.append(weight[INDEX[CellClass.MYO], 0] - weight[INDEX[CellClass.NGS], 0])
    assert slopes[0] == pytest.approx(0, abs=1e-3)
    assert slopes[1] > 0.05


def test_a_kept_view_is_reused_and_one_of_other_cells_is_refused(tiny, tmp_path):
    cells = write_cells(tmp_path, per_class=3)
    first = collect_view(tmp_path, tiny, cells, view=0, every=1, how=PLAIN, seed=1)
    again = collect_view(tmp_path, tiny, cells, view=0, every=1, how=PLAIN, seed=1)
    np.testing.assert_array_equal(first.values, again.values)
    with pytest.raises(HeadError, match="other weights, cells"):
        collect_view(tmp_path, tiny, cells[1:], view=0, every=1, how=PLAIN, seed=1)


def test_later_views_take_turns_over_the_cells(tiny, tmp_path):
    cells = write_cells(tmp_path, per_class=3)
    taken = [
        collect_view(tmp_path, tiny, cells, view=view, every=4, how=PLAIN, seed=1).cells.tolist()
        for view in range(3)
    ]
    assert taken == [list(range(9)), [0, 4, 8], [1, 5]]


def test_weights_are_refitted_from_the_command_line_and_wait_for_their_calibration(tmp_path):
    register_tiny()
    cells = write_cells(tmp_path, per_class=4)
    write_manifest(tmp_path / "cells.csv", cells)
    torch.manual_seed(0)
    card = make_card(network="tiny", input_px=48, unsupported=UNSUPPORTED)
    write_weights(
        Classifier(build_tiny(len(CODES)), card), tmp_path / "old", validation=None, changes={}
    )
    command = ["refit", "--weights", str(tmp_path / "old"), "--out", str(tmp_path / "new")]
    command += ["--manifest", str(tmp_path / "cells.csv"), "--root", str(tmp_path), "--split", ""]
    command += ["--recipe", "efficientnet-lite0", "--views", "2", "--strength", "100"]
    done = CliRunner().invoke(train, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    refitted = load_card(tmp_path / "new")
    assert refitted.sha256 != load_card(tmp_path / "old").sha256
    assert "last layer refitted on 24 views of 12 cells" in refitted.recipe
    assert (refitted.blast.basis, refitted.evaluation) == ("unset", {})
    again = CliRunner().invoke(train, command, catch_exceptions=False)
    assert again.exit_code == 0
    assert load_card(tmp_path / "new") == refitted


def test_a_network_without_a_last_layer_of_15_is_refused():
    with pytest.raises(HeadError, match="15 outputs"):
        find_head(nn.Sequential(nn.Conv2d(3, 15, 1)))


def test_one_class_sets_no_layer():
    views = [Features(np.ones((2, 3), np.float16), np.arange(2))]
    with pytest.raises(HeadError, match="two classes"):
        fit_head(views, made_cells([CellClass.MYO] * 2, ["a"] * 2), class_power=0.0, strength=1.0)
