import csv
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from models.catalogue import WEIGHTS_FILE
from models.detector import Detector
from models.nets.heatmap import HeatmapNet
from models.training.detector.canvas import CanvasDataset, draw_target
from models.training.detector.cli import evaluate_detector, fit_detector
from models.training.detector.evaluate import (
    CropScore,
    evaluate_crop,
    evaluate_crops,
    evaluate_fields,
)
from models.training.detector.fields import load_cells, load_fields, resample
from models.training.detector.fit import FitPlan, fit_network, heatmap_loss
from models.training.detector.leave_out import leave_detector_out
from models.training.detector.sprites import ImageStore, SourceImage, cut_out
from models.training.detector.stain import StainJitter
from tests.smears import LEUKOCYTE_UM, paint_field


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two laboratories' painted fields and four crops, one file truncated."""
    root = tmp_path_factory.mktemp("data")
    fields = []
    for i in range(6):
        rgb, cells = paint_field(160, 200, 0.29, seed=i)
        path = f"field{i}.png"
        Image.fromarray(rgb).save(root / path)
        half = LEUKOCYTE_UM / 2 / 0.29
        fields.append(
            {
                "path": path,
                "source": "pig" if i % 2 else "bccd",
                "split": "val" if i > 3 else "train",
                "um_per_px": 0.29,
                "width": 200,
                "height": 160,
                "boxes": [["WBC", x - half, y - half, x + half, y + half] for x, y in cells]
                + [["RBC", 0.0, 0.0, 20.0, 20.0]],
            }
        )
    whole = (root / "field2.png").read_bytes()
    (root / "field2.png").write_bytes(whole[: len(whole) // 2])
    (root / "fields.json").write_text(json.dumps(fields))
    with (root / "cells.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "source", "label", "patient", "split", "um_per_px"])
        for i in range(4):
            rgb, _ = paint_field(360, 360, 0.1, leukocytes=[(180.0, 180.0)], seed=i)
            Image.fromarray(rgb).save(root / f"cell{i}.png")
            label = "artefact" if i == 3 else "LYT"
            rows.writerow([f"cell{i}.png", "deepapl", label, "p01", "train", "0.1"])
        rows.writerow(["cell0.png", "deepapl", "LYT", "p02", "val", "0.1"])
    return root


WHITE = np.array([250.0, 250.0, 250.0])
SHORT = [f"--{name}=1" for name in ("epochs", "steps", "verifier-epochs", "verifier-steps")]
SHORT += ["--batch=2"]


def canvases(root: Path, seed: int = 1) -> CanvasDataset:
    return CanvasDataset(
        load_fields(root / "fields.json", "train"),
        load_cells(root / "cells.csv", "train"),
        ImageStore(root),
        um_per_px=0.58,
        jitter=StainJitter(),
        seed=seed,
        canvas_px=64,
    )


def test_fields_of_a_source_left_out_and_other_kinds_of_box_are_not_loaded(data):
    fields = load_fields(data / "fields.json", "train", leave_out=("pig",))
    assert {field.source for field in fields} == {"bccd"}
    assert all(len(field.boxes) == 4 for field in fields)


def test_artefacts_are_not_loaded_as_cells(data):
    assert len(load_cells(data / "cells.csv", "train")) == 3


def test_a_truncated_file_is_no_image(data):
    broken = load_fields(data / "fields.json", "train")[2]
    assert ImageStore(data).load(broken) is None


def test_a_crop_is_cut_into_its_cell_and_the_rest(data):
    image = ImageStore(data).load(load_cells(data / "cells.csv", "train")[0])
    assert image is not None and image.cell is not None
    opaque = image.cell > 0
    assert opaque[62, 62] and not opaque[0, 0]
    diameter_um = 2 * np.sqrt(opaque.sum() / np.pi) * image.um_per_px
    assert 9.0 < diameter_um < 15.0


def test_the_cell_of_a_box_is_cut_out_of_its_field(data):
    (field, *_) = load_fields(data / "fields.json", "train")
    cell = ImageStore(data).load_cell(field, 0)
    assert cell is not None and cell.cell is not None
    diameter_px = LEUKOCYTE_UM / 0.29
    assert (cell.cell > 0).sum() == pytest.approx(np.pi / 4 * diameter_px**2, rel=0.05)
    assert not cell.cell[:3, :3].any()
    assert (cell.boxes[0, 2:] - cell.boxes[0, :2]).tolist() == pytest.approx([diameter_px] * 2)
    np.testing.assert_allclose(cell.boxes[0].reshape(2, 2).mean(0), len(cell.cell) / 2)


def test_glass_in_a_box_is_not_cut_out_with_its_cell():
    rgb, (at, *_) = paint_field(160, 200, 0.29)
    rgb[: round(at[1]), :] = 250
    image = SourceImage(rgb, WHITE, np.array([0.25, 0.55, 0.4]), 0.29, np.empty((0, 4)))
    half = LEUKOCYTE_UM / 2 / 0.29
    cell = cut_out(image, np.array([at[0] - half, at[1] - half, at[0] + half, at[1] + half]))
    middle = len(cell.cell) // 2
    assert not cell.cell[: middle - 1].any()
    assert cell.cell[middle + 1 : middle + 10, middle].all()


def test_a_cell_that_the_field_cuts_is_not_cut_out():
    rgb, _ = paint_field(160, 200, 0.29)
    image = SourceImage(rgb, WHITE, np.array([0.25, 0.55, 0.4]), 0.29, np.empty((0, 4)))
    assert cut_out(image, np.array([0.0, 20.0, 40.0, 60.0])) is None
    assert cut_out(image, np.array([100.0, 110.0, 150.0, 160.0])) is None


def test_cells_are_pasted_from_fields_too_and_from_nothing_else_without_crops(data, monkeypatch):
    def taken(cells):
        crops = []
        monkeypatch.setattr(
            "models.training.detector.canvas.paste_cells",
            lambda piece, source, *rest: crops.extend(islice(source, 4)),
        )
        fields = load_fields(data / "fields.json", "train")
        options = {"um_per_px": 0.58, "jitter": StainJitter(), "seed": 1, "canvas_px": 64}
        made = CanvasDataset(fields, cells, ImageStore(data), **options)
        for index in range(40):
            made.draw(index)
        return crops

    without = taken([])
    assert without and all(crop.ignored is None for crop in without)
    both = taken(load_cells(data / "cells.csv", "train"))
    assert {crop.ignored is None for crop in both} == {True, False}


def test_canvases_are_drawn_where_no_cell_can_be_cut_out(data, tmp_path):
    entries = json.loads((data / "fields.json").read_text())[:1]
    entries[0]["boxes"] = [["WBC", 0.0, 0.0, 30.0, 30.0]]
    (tmp_path / "fields.json").write_text(json.dumps(entries))
    fields = load_fields(tmp_path / "fields.json", "train")
    made = CanvasDataset(
        fields, [], ImageStore(data), um_per_px=0.58, jitter=StainJitter(), seed=1, canvas_px=64
    )
    assert all(np.isfinite(made.draw(index).density).all() for index in range(20))


def test_resampling_down_is_the_mean_of_the_pixels_covered():
    rgb = np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, axis=2) * 4
    small = resample(rgb, 0.5)
    assert small.shape == (2, 2, 3)
    assert small[0, 0, 0] == np.round(rgb[:2, :2, 0].mean())


def test_the_same_seed_and_index_give_the_same_canvas(data):
    for one, other in zip(canvases(data)[3], canvases(data)[3], strict=True):
        assert torch.equal(one, other)


def test_another_seed_gives_another_canvas(data):
    assert not torch.equal(canvases(data)[3][0], canvases(data, seed=2)[3][0])


def test_a_target_is_exactly_one_at_each_centre_and_ignored_where_told():
    ignored = np.zeros((64, 64), bool)
    ignored[:, 40:] = True
    target = draw_target(np.array([[20.0, 30.0, 13.0, 1.0]]), ignored, 0.58)
    assert (target[0] == 1.0).sum() == 1
    assert target[0, 14, 10] == 1.0 or target[0, 15, 9] == 1.0 or target[0, 15, 10] == 1.0
    assert not target[1, :, 20:].any() and target[1, :, :20].all()


PLAN = FitPlan(epochs=2, steps=1, batch=2, workers=0)


def fitted(data: Path, checkpoint: Path, **options) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = HeatmapNet(width=4)
    fit_network(network, canvases(data), heatmap_loss, PLAN, checkpoint, **options)
    return network.state_dict()


def test_a_killed_fit_resumes_to_the_same_weights(data, tmp_path):
    unbroken = fitted(data, tmp_path / "unbroken.pt")

    def stop(epoch: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(data, tmp_path / "broken.pt", on_epoch=stop)
    resumed = fitted(data, tmp_path / "broken.pt", resume=True)
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


def test_a_checkpoint_of_another_plan_is_refused(data, tmp_path):
    fitted(data, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="another plan"):
        fit_network(
            HeatmapNet(width=4),
            canvases(data),
            heatmap_loss,
            FitPlan(epochs=3, steps=1, batch=2, workers=0),
            tmp_path / "checkpoint.pt",
            resume=True,
        )


def test_the_command_line_fits_evaluates_and_writes_loadable_weights(data, tmp_path):
    inputs = ["--fields", str(data / "fields.json"), "--root", str(data)]
    out = tmp_path / "run"
    crops = ["--cells", str(data / "cells.csv")]
    fit = CliRunner().invoke(
        fit_detector,
        [*inputs, *crops, *SHORT, "--out", str(out), "--leave-out", "pig", "--name", "tiny"],
        catch_exceptions=False,
    )
    assert fit.exit_code == 0
    assert Detector.load(str(out)).card.name == "tiny"
    evaluation = CliRunner().invoke(
        evaluate_detector,
        [*inputs, *crops, "--weights", str(out), "--json"],
        catch_exceptions=False,
    )
    result = json.loads(evaluation.output)
    assert result["sources"]["pig"]["leukocytes"] == 4
    assert [(row["source"], row["label"], row["cells"]) for row in result["crops"]] == [
        ("deepapl", "LYT", 1)
    ]


def test_a_heat_map_may_be_kept_and_only_a_verifier_fitted(data, tmp_path):
    inputs = ["--fields", str(data / "fields.json"), "--root", str(data)]
    options = [*inputs, "--cells", str(data / "cells.csv"), *SHORT]
    first, second = tmp_path / "first", tmp_path / "second"
    for out, more in ((first, []), (second, ["--heatmap-of", str(first), "--seed", "7"])):
        run = CliRunner().invoke(
            fit_detector, [*options, "--out", str(out), *more], catch_exceptions=False
        )
        assert ("heatmap: epoch 1" in run.output) == (out is first)
    old, new = (load_file(out / WEIGHTS_FILE) for out in (first, second))
    same = {name for name in old if torch.equal(old[name], new[name])}
    assert {name for name in old if name.startswith("heatmap.")} <= same
    assert "verifier._fc.weight" not in same


def test_a_cell_at_the_centre_of_its_crop_is_found(data):
    cells = load_cells(data / "cells.csv", "val")
    scores = evaluate_crops(Detector.load(), cells, data)
    assert scores == {("deepapl", "LYT"): CropScore(cells=1, found=1)}
    assert scores["deepapl", "LYT"].recall == 1.0


def test_a_cell_beside_the_centre_of_its_crop_is_not_the_one_looked_for(data):
    rgb, _ = paint_field(360, 360, 0.1, leukocytes=[(180.0, 280.0)])
    assert not evaluate_crop(Detector.load(), 0.1, rgb)


def test_a_laboratory_left_out_is_judged_on_its_own_fields_only(data, tmp_path):
    inputs = ["--fields", str(data / "fields.json"), "--cells", str(data / "cells.csv")]
    options = ["--root", str(data), "--out", str(tmp_path), *SHORT, "--group", "pig"]
    run = CliRunner().invoke(
        leave_detector_out,
        [*inputs, *options, "--group", "deepapl"],
        catch_exceptions=False,
    )
    assert run.exit_code == 0
    assert run.output.split("crops of")[1].splitlines()[1].split()[:3] == ["deepapl", "all", "1"]
    val = run.output.split("without pig, split val:\n")[1].split("without")[0]
    assert [line.split()[:2] for line in val.splitlines()[1:]] == [["pig", "1"]]
    assert Detector.load(str(tmp_path / "pig")).card.name == "without-pig"


@pytest.mark.parametrize(
    ("source", "recall", "precision"),
    [("bccd", 0.98, 0.95), ("bcd", 0.98, 0.95), ("pig", 0.95, 0.90)],
)
def test_shipped_weights_reach_their_figures_on_real_fields(real_data, source, recall, precision):
    fields = [
        field for field in load_fields(real_data / "fields.json", "val") if field.source == source
    ]
    score = evaluate_fields(Detector.load(), fields, real_data)[source]
    assert score.recall >= recall
    assert score.precision >= precision


def test_shipped_weights_find_the_blasts_of_patients_they_never_saw(real_data):
    cells = [cell for cell in load_cells(real_data / "cells.csv", "val") if cell.label == "MYO"]
    (score,) = evaluate_crops(Detector.load(), cells, real_data).values()
    assert score.cells == 204
    assert score.recall >= 0.97
