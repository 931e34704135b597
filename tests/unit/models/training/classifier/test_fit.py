from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.card import load_card
from models.checkpoint import WEIGHTS_FILE
from models.errors import ModelError, WeightsCorrupt
from models.nets import registry
from models.predictor import Classifier
from models.taxonomy import CODES, CellClass
from models.training.classifier.export import export_classifier, sharpen
from models.training.classifier.fit import BalancedSampler, fit
from models.training.classifier.recipe import Recipe
from models.training.data.manifest import LabelledCell, Manifest

COLOURS = {
    CellClass.MYO: (80, 40, 140),
    CellClass.NGS: (200, 120, 160),
    CellClass.PMO: (40, 90, 200),
}


def build_tiny(n_classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=4),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, n_classes),
    )


@pytest.fixture
def tiny_network(monkeypatch):
    monkeypatch.setitem(registry.NETWORKS, "tiny", build_tiny)


RECIPE = Recipe(
    network="tiny",
    stages=((2, 32), (2, 48)),
    batch_size=8,
    learning_rate=0.02,
    ema_decay=0.8,
    precision="32-true",
)


def write_cells(folder: Path, *, per_class: int, source: str = "lab") -> tuple[LabelledCell, ...]:
    rng = np.random.default_rng(0)
    cells = []
    for code, colour in COLOURS.items():
        for index in range(per_class):
            image = np.full((120, 120, 3), 235, np.uint8)
            image[40:80, 40:80] = np.clip(rng.normal(colour, 8, (40, 40, 3)), 0, 255)
            path = folder / f"{code}{index}.png"
            Image.fromarray(image).save(path)
            cells.append(LabelledCell(path, source, code, f"p{index}", 0.3))
    return tuple(cells)


def network_state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


# Lightning warns of its own dependencies and of a loader without worker processes.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:lightning.*")


def test_a_run_killed_between_epochs_resumes_to_the_same_weights(tmp_path, tiny_network):
    manifest = Manifest(write_cells(tmp_path, per_class=12), Counter())
    fit(RECIPE, manifest, out=tmp_path / "whole")

    class Killed(BaseException):
        pass

    class KilledAfterTwoEpochs(Recipe):
        def input_px_at(self, epoch: int) -> int:
            if epoch == 2:
                raise Killed
            return super().input_px_at(epoch)

    killed = KilledAfterTwoEpochs(
        **{name: getattr(RECIPE, name) for name in Recipe.__dataclass_fields__}
    )
    with pytest.raises(Killed):
        fit(killed, manifest, out=tmp_path / "resumed")
    assert torch.load(tmp_path / "resumed" / "last.ckpt", weights_only=True)["epoch"] == 1
    fit(RECIPE, manifest, out=tmp_path / "resumed")
    whole, resumed = network_state(tmp_path / "whole"), network_state(tmp_path / "resumed")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)


def test_a_trained_run_is_exported_loaded_and_right(tmp_path, tiny_network):
    cells = write_cells(tmp_path, per_class=16)
    recipe = replace(RECIPE, stages=((40, 48),))
    fit(recipe, Manifest(cells, Counter()), out=tmp_path / "run")
    card = export_classifier(
        tmp_path / "run",
        tmp_path / "tiny-1",
        validation=cells,
        calibration_sources=["lab"],
        threshold_source="lab",
        version="1",
    )
    assert card == load_card(tmp_path / "tiny-1")
    assert set(CODES) - set(card.unsupported_classes) == set(COLOURS)
    assert card.evaluation["lab"].accuracy == 1.0
    assert card.blast.specificity >= 0.95
    classifier = Classifier.load("tiny-1", root=tmp_path)
    probabilities = classifier.predict(np.full((2, 400, 400, 3), 200, np.uint8))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    for code in card.unsupported_classes:
        assert (probabilities[:, CODES.index(code)] == 0).all()
    (tmp_path / "tiny-1" / WEIGHTS_FILE).write_bytes(b"not weights")
    with pytest.raises(WeightsCorrupt):
        Classifier.load("tiny-1", root=tmp_path)


def test_an_unfinished_run_is_not_exported(tmp_path, tiny_network):
    cells = write_cells(tmp_path, per_class=8)
    fit(replace(RECIPE, stages=((1, 32),)), Manifest(cells, Counter()), out=tmp_path / "run")
    written = (tmp_path / "run" / "recipe.json").read_text()
    (tmp_path / "run" / "recipe.json").write_text(written.replace("[\n      1,", "[\n      9,"))
    with pytest.raises(ModelError, match="of 9 epochs"):
        export_classifier(
            tmp_path / "run",
            tmp_path / "out",
            validation=cells,
            calibration_sources=["lab"],
            threshold_source="lab",
            version="1",
        )


def cell(code: CellClass, source: str) -> LabelledCell:
    return LabelledCell(Path("x"), source, code, "", 0.1)


def test_sampling_splits_a_class_evenly_between_its_sources():
    cells = [cell(CellClass.NGS, "a")] * 90 + [cell(CellClass.NGS, "b")] * 10
    weights = BalancedSampler(cells, power=0.5, seed=0).weights
    assert float(weights[:90].sum()) == pytest.approx(float(weights[90:].sum()))


def test_sampling_weights_classes_by_a_power_of_their_size():
    cells = [cell(CellClass.NGS, "a")] * 100 + [cell(CellClass.BAS, "a")] * 4
    weights = BalancedSampler(cells, power=0.5, seed=0).weights
    assert float(weights[:100].sum() / weights[100:].sum()) == pytest.approx(10 / 2)


def test_sampling_order_depends_on_seed_and_epoch_alone():
    cells = [cell(CellClass.NGS, "a")] * 50
    first, second = (BalancedSampler(cells, power=1, seed=3) for _ in range(2))
    assert list(first) == list(second)
    second.set_epoch(1)
    assert list(first) != list(second)


def test_a_higher_temperature_softens_and_keeps_zeros():
    probabilities = np.array([[0.9, 0.1, 0.0]], np.float32)
    softened = sharpen(probabilities, 2.0)
    assert 0.1 < softened[0, 1] < 0.5
    assert softened[0, 2] == 0.0
    np.testing.assert_allclose(softened.sum(), 1.0, rtol=1e-6)


def test_the_input_grows_with_the_stages():
    assert [RECIPE.input_px_at(epoch) for epoch in range(5)] == [32, 32, 48, 48, 48]
    assert (RECIPE.epochs, RECIPE.input_px) == (4, 48)
