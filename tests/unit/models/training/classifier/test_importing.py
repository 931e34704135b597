import json
import os
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import BatchNorm2d
from torchvision.models import resnext50_32x4d

from models.card import load_card
from models.catalogue import CARD_FILE
from models.golden import check_golden, golden_patches
from models.predictor import Classifier
from models.preprocess import normalise, resize, to_tensor
from models.taxonomy import CODES, CellClass
from models.training.classifier.export import plan_validation
from models.training.classifier.importing import (
    StateError,
    fit_tensors,
    import_classifier,
    read_state,
    rename_tensors,
)
from models.training.classifier.mapping import Mapping, MappingError, read_mapping
from tests.training_runs import build_tiny, register_tiny, write_cells

PERMUTED = [*CODES[7:], "", *CODES[:7]]
"""Sixteen outputs: the order of another laboratory, and one class of theirs that is not ours."""

FIELDS = {
    "name": "theirs",
    "network": "resnext50_32x4d",
    "classes": PERMUTED,
    "input_px": 64,
    "patch_um": 29.0,
    "mean": [0.82, 0.69, 0.83],
    "std": [0.16, 0.25, 0.09],
    "licence": "CC BY 4.0",
    "citation": "Somebody et al. 2021",
}


def write_mapping(path: Path, **changes: object) -> Path:
    fields = {k: v for k, v in (FIELDS | changes).items() if v is not None}
    rules = fields.pop("rename", [])
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())
    for rule in rules:
        text += "[[rename]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in rule.items())
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def tiny():
    register_tiny()


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    """A torchvision network with 16 outputs that differ from patch to patch.

    Its weights are rounded to half precision, as they are stored after an import.
    """
    torch.manual_seed(4)
    network = resnext50_32x4d(
        weights=None, num_classes=16, norm_layer=partial(BatchNorm2d, momentum=1)
    )
    with torch.no_grad():
        network.fc.weight.normal_(0, 0.3)
        network.fc.bias.normal_()
        network.train()(
            normalise(resize(to_tensor(golden_patches()), 64), FIELDS["mean"], FIELDS["std"])
        )
        for name, tensor in network.eval().state_dict().items():
            if tensor.is_floating_point() and "running_" not in name:
                tensor.copy_(tensor.half().float())
    return network


@torch.inference_mode()
def restricted(network: torch.nn.Module, patches: np.ndarray, *, bgr: bool = False) -> np.ndarray:
    """What the original says of the 15 classes: its softmax without the sixteenth output."""
    images = normalise(resize(to_tensor(patches), 64), FIELDS["mean"], FIELDS["std"])
    logits = network(images.flip(1) if bgr else images)
    columns = [PERMUTED.index(code) for code in CODES]
    return logits[:, columns].softmax(dim=1).numpy()


def test_a_data_parallel_checkpoint_gives_the_probabilities_of_the_original(theirs, tmp_path):
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"epoch": 20, "best": 0.9, "state_dict": state}, tmp_path / "best.pth")
    mapping = write_mapping(tmp_path / "mapping.toml", state_key="state_dict")
    card = import_classifier(tmp_path / "best.pth", mapping, tmp_path / "theirs-1", version="2")
    assert card == load_card(tmp_path / "theirs-1")
    assert (card.name, card.version, card.unsupported_classes) == ("theirs-1", "2", ())
    assert card.training[0].citation == "Somebody et al. 2021"
    assert card.blast.basis == "not measured: imported without validation cells"
    classifier = Classifier.load("theirs-1", root=tmp_path)
    expected = restricted(theirs, golden_patches())
    assert np.ptp(expected, axis=0).max() > 0.05
    np.testing.assert_allclose(classifier.predict(golden_patches()), expected, atol=1e-5)
    assert check_golden(classifier, tmp_path / "theirs-1") < 1e-5


def test_a_network_that_takes_bgr_is_turned_to_rgb(theirs, tmp_path):
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    mapping = write_mapping(tmp_path / "mapping.toml", channels="BGR")
    import_classifier(tmp_path / "w.safetensors", mapping, tmp_path / "bgr")
    found = Classifier.load("bgr", root=tmp_path).predict(golden_patches())
    np.testing.assert_allclose(found, restricted(theirs, golden_patches(), bgr=True), atol=1e-5)
    assert np.abs(found - restricted(theirs, golden_patches())).max() > 1e-3


def tiny_state(outputs: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_tiny(outputs).state_dict()


def tiny_mapping(path: Path, **changes: object) -> Path:
    defaults = {"network": "tiny", "classes": ["NGS", "MYO", "PMO"]}
    return write_mapping(path, **(defaults | changes))


def test_classes_without_an_output_are_unsupported(tmp_path):
    torch.save(tiny_state(), tmp_path / "s.pt")
    mapping = tiny_mapping(tmp_path / "m.toml")
    card = import_classifier(tmp_path / "s.pt", mapping, tmp_path / "tiny-1")
    assert set(CODES) - set(card.unsupported_classes) == {"NGS", "MYO", "PMO"}
    found = Classifier.load("tiny-1", root=tmp_path).predict(golden_patches())
    assert (found[:, [CODES.index(code) for code in card.unsupported_classes]] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_names_of_another_style_are_renamed(tmp_path):
    state = {f"backbone.part{name}": tensor for name, tensor in tiny_state().items()}
    state["criterion.weight"] = torch.ones(3)
    torch.save(state, tmp_path / "s.pt")
    mapping = tiny_mapping(
        tmp_path / "m.toml",
        strip=["backbone."],
        rename=[{"pattern": r"^part(\d+)\.", "to": r"\1."}],
        ignore=[r"criterion\..*"],
    )
    import_classifier(tmp_path / "s.pt", mapping, tmp_path / "out")
    loaded = Classifier.load("out", root=tmp_path).network.state_dict()
    torch.testing.assert_close(loaded["0.weight"], tiny_state()["0.weight"], rtol=1e-3, atol=1e-4)
    row = CODES.index(CellClass.MYO)
    torch.testing.assert_close(loaded["5.weight"][row], tiny_state()["5.weight"][1].half().float())


def test_an_import_is_calibrated_and_measured_on_labelled_cells(tmp_path):
    cells = write_cells(tmp_path, per_class=10)
    torch.save(tiny_state(), tmp_path / "s.pt")
    card = import_classifier(
        tmp_path / "s.pt",
        tiny_mapping(tmp_path / "m.toml"),
        tmp_path / "out",
        validation=plan_validation(cells),
    )
    assert card.evaluation["lab"].n == 30
    assert "least log loss on the validation cells of lab" in card.calibration
    assert "30 validation cells of lab, 10 of them in the group" in card.blast.basis


class Trap:
    """A pickle of it makes a file when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_holds_code_is_refused_and_the_code_not_run(tmp_path):
    torch.save({"state_dict": tiny_state(), "x": Trap(tmp_path / "hit")}, tmp_path / "evil.pth")
    mapping = tiny_mapping(tmp_path / "m.toml", state_key="state_dict")
    with pytest.raises(
        StateError, match=r"evil\.pth .* holds \w+\.mkdir.* could run code .* safetensors"
    ):
        import_classifier(tmp_path / "evil.pth", mapping, tmp_path / "out")
    assert not (tmp_path / "hit").exists()
    assert not (tmp_path / "out").exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "hit").exists()


def test_arguments_and_numbers_that_training_scripts_save_do_not_hinder(tmp_path):
    held = {"model": tiny_state(), "args": Namespace(lr=0.1), "best": np.float64(0.9)}
    torch.save(held | {"f4": np.float32(0.5), "n": np.int64(7)}, tmp_path / "s.pth")
    assert read_state(tmp_path / "s.pth", key="model").keys() == tiny_state().keys()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(build_tiny(3), tmp_path / "model.pth")
    with pytest.raises(StateError, match=r"torch\.save\(model\.state_dict\(\)"):
        read_state(tmp_path / "model.pth")


@pytest.mark.parametrize("name", ["s.pth", "s.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x00" * 64])
def test_damaged_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StateError, match=name.replace(".", r"\.")):
        read_state(tmp_path / name)


def test_a_truncated_file_is_refused(tmp_path):
    torch.save(tiny_state(), tmp_path / "s.pth")
    whole = (tmp_path / "s.pth").read_bytes()
    (tmp_path / "s.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StateError, match="cannot be read as a state dict"):
        read_state(tmp_path / "s.pth")


def test_a_nested_dict_without_its_key_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "state_dict": tiny_state()}, tmp_path / "s.pth")
    with pytest.raises(StateError, match="more than tensors: epoch, state_dict"):
        read_state(tmp_path / "s.pth")
    with pytest.raises(StateError, match="no 'model'; it has epoch, state_dict"):
        read_state(tmp_path / "s.pth", key="model")
    torch.save([1, 2], tmp_path / "l.pth")
    with pytest.raises(StateError, match="holds list"):
        read_state(tmp_path / "l.pth")


def fitted(tmp_path: Path, state: dict[str, torch.Tensor], **changes: object):
    mapping = read_mapping(tiny_mapping(tmp_path / "m.toml", **changes))
    return fit_tensors(rename_tensors(state, mapping), mapping)


def test_missing_and_unexpected_tensors_are_named(tmp_path):
    state = tiny_state()
    state["extra"] = state.pop("0.weight")
    with pytest.raises(StateError, match=r"missing: 0\.weight; not expected: extra"):
        fitted(tmp_path, state)


def test_a_count_of_batches_that_old_files_lack_is_not_missed(tmp_path):
    state = tiny_state()
    del state["1.num_batches_tracked"]
    assert fitted(tmp_path, state)["1.num_batches_tracked"] == 0


def test_shapes_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(StateError, match=r"0\.weight is \(8, 3, 7, 7\), not \(8, 3, 5, 5\)"):
        fitted(tmp_path, tiny_state() | {"0.weight": torch.ones(8, 3, 7, 7)})


def test_a_head_of_another_width_than_the_mapping_is_refused(tmp_path):
    with pytest.raises(StateError, match=r"5\.weight has 4 outputs, the mapping names 3 classes"):
        fitted(tmp_path, tiny_state(outputs=4))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 7e4])
def test_values_that_cannot_be_stored_are_refused(tmp_path, value):
    with pytest.raises(StateError, match=r"half precision cannot hold: 0\.bias"):
        fitted(tmp_path, tiny_state() | {"0.bias": torch.full((8,), value)})


def test_the_largest_value_of_half_precision_is_taken(tmp_path):
    assert fitted(tmp_path, tiny_state() | {"0.bias": torch.full((8,), 65504.0)})


def test_two_tensors_of_one_name_are_refused(tmp_path):
    state = tiny_state()
    state["module.0.weight"] = state["0.weight"]
    with pytest.raises(StateError, match=r"0\.weight and module\.0\.weight both become 0\.weight"):
        fitted(tmp_path, state)


def test_a_rename_to_a_group_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StateError, match=r"'\\\\2' cannot be applied"):
        fitted(tmp_path, tiny_state(), rename=[{"pattern": "0", "to": r"\2"}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clases": ["NGS"]}, r"clases \(line 10\): Extra inputs are not permitted"),
        ({"licence": None}, "licence: Field required"),
        ({"network": "resnet9"}, r"network \(line 2\): not registered; known: .*resnext50"),
        ({"classes": ["NGS", "XXX"]}, "XXX are none of BAS, EBO"),
        ({"classes": ["NGS", "NGS", "MYO"]}, "two outputs cannot both be NGS: .* no linear head"),
        ({"classes": ["NGS", ""]}, "fewer than two outputs"),
        ({"std": [0.1, 0.0, 0.1]}, r"std\.1.*greater than 0, not 0\.0"),
        ({"mean": [124, 117, 104]}, r"mean\.0.*less than or equal to 1, not 124"),
        ({"channels": "RGBA"}, r"channels \(line 10\).*'RGB' or 'BGR', not 'RGBA'"),
        ({"rename": [{"pattern": "(", "to": ""}]}, r"rename\.0\.pattern \(line 11\): not a reg"),
        ({"rename": [{"pattern": "a", "with": ""}]}, r"rename\.0\.with \(line 12\): Extra"),
        ({"ignore": ["("]}, "is not a regular expression"),
    ],
)
def test_a_wrong_mapping_is_refused_by_field_and_line(tmp_path, changes, message):
    with pytest.raises(MappingError, match=message):
        read_mapping(write_mapping(tmp_path / "mapping.toml", **changes))


def test_a_mapping_that_is_not_toml_is_refused_by_line(tmp_path):
    (tmp_path / "m.toml").write_text("name = 'a'\nclasses [\n")
    with pytest.raises(MappingError, match=r"m\.toml is not TOML: .*line 2"):
        read_mapping(tmp_path / "m.toml")


def test_a_mapping_lists_the_classes_it_leaves_unsupported():
    mapping = Mapping.model_validate(FIELDS | {"classes": ["", *CODES[1:]]})
    assert mapping.unsupported == (CellClass.BAS,)


def test_the_command_imports_and_says_what_is_wrong_in_words(tmp_path):
    from click.testing import CliRunner

    from models.training.cli import train

    torch.save(tiny_state(), tmp_path / "s.pt")
    mapping = tiny_mapping(tmp_path / "m.toml")
    arguments = ["import", "--state", tmp_path / "s.pt", "--mapping", mapping, "--out"]
    done = CliRunner().invoke(train, [*map(str, arguments), str(tmp_path / "weights-7")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["name"] == "weights-7"
    assert (tmp_path / "weights-7" / CARD_FILE).is_file()
    torch.save(tiny_state(outputs=4), tmp_path / "s.pt")
    done = CliRunner().invoke(train, [*map(str, arguments), str(tmp_path / "weights-8")])
    assert done.exit_code == 1
    assert "Error: 5.weight has 4 outputs" in done.output
    assert "Traceback" not in done.output
