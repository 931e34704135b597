import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter

from models.taxonomy import CellClass
from models.training.cli import train
from models.training.data.annotations import EXPECTED_COUNTS, read_annotations
from models.training.data.manifest import read_manifest


def run(*arguments):
    return CliRunner().invoke(train, ["prepare", *map(str, arguments)])


def scene(seed, px=600):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(px, px, 3)), (25, 25, 0))
    return np.clip(150 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)


def save_crop(path, picture, *, x=100, y=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture[y : y + 400, x : x + 400]).save(path)


def write_rows(path, *rows):
    path.write_text("path,source,label,patient,split,um_per_px\n" + "".join(f"{r}\n" for r in rows))
    return path


@pytest.fixture
def full_size(real_data, tmp_path):
    """The real annotations with a file for each of their 18,365 cells: 15 images, hard-linked."""
    root = tmp_path / "download"
    classes = root / "PKG - AML-Cytomorphology_LMU" / "AML-Cytomorphology_LMU"
    for code in CellClass:
        (classes / code).mkdir(parents=True)
        Image.new("RGBA", (400, 400), (200, 150, 180, 255)).save(tmp_path / f"{code}.tiff")
    annotations = real_data / "lmu" / "annotations.dat"
    (classes / "annotations.dat").write_bytes(annotations.read_bytes())
    for row in read_annotations(annotations):
        os.link(tmp_path / f"{row.label}.tiff", classes / row.name)
    return root


def test_the_real_annotations_give_the_papers_counts_in_five_even_folds(full_size, tmp_path):
    out = tmp_path / "cells.csv"
    result = run("--lmu", full_size, "--out", out, "--no-duplicates", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["cells"] == 18_365
    assert record["found"] == record["expected"] == EXPECTED_COUNTS
    folds = record["folds"]["counts"]
    assert {code: sum(counts) for code, counts in folds.items()} == EXPECTED_COUNTS
    assert all(max(counts) - min(counts) <= 1 for counts in folds.values())
    cells = read_manifest(out, root=full_size).cells
    assert len(cells) == 18_365
    assert {cell.um_per_px for cell in cells} == {0.0725}
    assert all(cell.path.is_file() for cell in cells[::1000])

    missing = full_size / cells[17].name
    missing.unlink()
    again = tmp_path / "again.csv"
    refused = run("--lmu", full_size, "--out", again, "--no-duplicates")
    assert refused.exit_code == 1
    assert "1 missing" in refused.output
    assert not again.exists()
    listed = json.loads(again.with_suffix(".json").read_text())["files"]["missing"]
    assert listed == [f"{missing.parent.name}/{missing.name}"]
    partial = run("--lmu", full_size, "--out", again, "--no-duplicates", "--partial", "--json")
    assert json.loads(partial.stdout)["cells"] == 18_364


def test_annotations_that_are_not_the_published_ones_are_refused_without_partial(tmp_path):
    for name in ("a", "b", "c"):
        save_crop(tmp_path / "MYO" / f"{name}.png", scene(0))
    lines = "".join(f"MYO/{name}.png MYO nan nan\n" for name in ("a", "b", "c"))
    (tmp_path / "annotations.dat").write_text(lines)
    arguments = ("--lmu", tmp_path, "--out", tmp_path / "out.csv", "--folds", 2, "--no-duplicates")
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "MYO 3 instead of 3268" in refused.output
    assert run(*arguments, "--partial").exit_code == 0


def test_a_manifest_keeps_its_columns_and_duplicates_share_a_fold(tmp_path):
    shared = scene(0)
    save_crop(tmp_path / "a.png", shared)
    save_crop(tmp_path / "b.png", shared, x=180)
    save_crop(tmp_path / "turned.png", np.rot90(scene(1)[100:500, 100:500]), x=0, y=0)
    save_crop(tmp_path / "upright.png", scene(1))
    for seed in (2, 3, 4):
        save_crop(tmp_path / f"{seed}.png", scene(seed))
    manifest = write_rows(
        tmp_path / "in.csv",
        "a.png,here,MYO,,train,0.0725",
        "b.png,here,NGS,,val,0.0725",
        "turned.png,here,MYO,p1,train,0.0725",
        "upright.png,here,MON,p2,train,0.0725",
        "2.png,here,MYO,p2,train,0.0725",
        "3.png,here,artefact,,train,0.0725",
        "4.png,here,MYO,,val,0.0725",
    )
    out = tmp_path / "prepared" / "out.csv"
    result = run("--manifest", manifest, "--root", tmp_path, "--out", out, "--folds", 2, "--json")
    assert result.exit_code == 0, result.output
    cells = {cell.name: cell for cell in read_manifest(out, root=tmp_path).cells}
    assert list(cells) == ["a.png", "b.png", "turned.png", "upright.png", "2.png", "4.png"]
    assert (cells["b.png"].split, cells["b.png"].label) == ("val", CellClass.NGS)
    assert {name: cell.group for name, cell in cells.items()} == {
        "a.png": "a.png",
        "b.png": "a.png",
        "turned.png": "here:p1",
        "upright.png": "here:p1",
        "2.png": "here:p1",
        "4.png": "4.png",
    }
    assert cells["a.png"].fold == cells["b.png"].fold
    assert len({cells[name].fold for name in ("turned.png", "upright.png", "2.png")}) == 1
    record = json.loads(result.stdout)
    assert record["left_out"] == {"artefact": 1}
    leaks = record["duplicates"]["split_conflicts"]
    assert [(pair["first"], pair["second"]) for pair in leaks] == [("a.png", "b.png")]
    assert leaks[0]["shift_um"] == pytest.approx(80 * 0.0725, abs=1)
    conflicts = record["duplicates"]["label_conflicts"]
    assert [(pair["first"], pair["second"]) for pair in conflicts] == [
        ("turned.png", "upright.png")
    ]


def test_the_folds_do_not_depend_on_the_order_of_rows_in_the_manifest(tmp_path):
    rows = [f"{n}.png,here,{'MYO' if n % 3 else 'NGS'},,train,0.0725" for n in range(12)]
    for n in range(12):
        save_crop(tmp_path / f"{n}.png", scene(0))
    folds = []
    for name, order in (("one", rows), ("two", rows[::-1])):
        manifest, out = write_rows(tmp_path / f"{name}.csv", *order), tmp_path / f"{name}-out.csv"
        run(
            "--manifest",
            manifest,
            "--root",
            tmp_path,
            "--out",
            out,
            "--folds",
            3,
            "--no-duplicates",
        )
        folds.append({c.name: c.fold for c in read_manifest(out, root=tmp_path).cells})
    assert folds[0] == folds[1]


def test_a_file_damaged_behind_its_header_is_found_by_decoding(tmp_path):
    for n in range(3):
        save_crop(tmp_path / f"{n}.png", scene(n))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    rows = [f"{n}.png,here,MYO,,train,0.0725" for n in range(3)]
    manifest, out = write_rows(tmp_path / "in.csv", *rows), tmp_path / "out.csv"
    arguments = ("--manifest", manifest, "--root", tmp_path, "--out", out, "--folds", 2)
    refused = run(*arguments, "--json")
    assert refused.exit_code == 1
    assert json.loads(out.with_suffix(".json").read_text())["files"]["unreadable"] == ["1.png"]
    taken = run(*arguments, "--partial", "--json")
    assert json.loads(taken.stdout)["cells"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either --lmu or --manifest"),
        (("--lmu", ".", "--manifest", "in.csv"), "either --lmu or --manifest"),
        (("--manifest", "in.csv"), "--manifest and --root go together"),
        (("--manifest", "in.csv", "--root", ".", "--out", "in.csv"), "--out is the manifest"),
    ],
)
def test_a_wrong_use_is_explained(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "in.csv", "a.png,here,MYO,,train,0.1")
    result = run("--out", "out.csv", *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_people_see_classes_folds_and_what_to_look_at(tmp_path):
    for n in range(4):
        save_crop(tmp_path / f"{n}.png", scene(0))
    rows = [
        f"{n}.png,here,{label},,train,0.0725" for n, label in enumerate(["MYO", "NGS", "MYO", "x"])
    ]
    manifest = write_rows(tmp_path / "in.csv", *rows)
    result = run(
        "--manifest", manifest, "--root", tmp_path, "--out", tmp_path / "out.csv",
        "--folds", 2, "--no-duplicates",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "fold 2" in result.output
    assert "NGS: 1 groups are fewer than the folds" in result.output
    assert "x 1" in result.output
    assert "near duplicates were not looked for" in result.output
