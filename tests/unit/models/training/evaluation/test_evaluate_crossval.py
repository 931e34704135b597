"""`smearscan train evaluate --crossval`, from predictions on disk to the report."""

import csv
import json
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import roc_auc_score

from models.nets.registry import build_network
from models.taxonomy import BLAST, CODES
from models.training.cli import train
from models.training.evaluation.crossvalidation import read_crossval
from models.training.evaluation.examiner_files import write_examiners
from models.training.evaluation.examples import (
    PanelUnavailable,
    choose_examples,
    explain_examples,
)
from models.training.evaluation.figures.saliency_panel import PER_KIND
from models.training.evaluation.publish import measure_crossval, name_directory
from models.training.evaluation.records import CrossvalFigures
from models.training.evaluation.report import write_report
from tests.crossvals import make_cells, write_crossval


def run(*arguments):
    return CliRunner().invoke(train, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluated")
    cells = write_crossval(root / "cv", unreadable=2)
    done = run("--crossval", root / "cv", "--out", root / "out", "--bootstrap", 200, "--seed", 5)
    assert done.exit_code == 0, done.output
    return SimpleNamespace(cells=cells, cv=root / "cv", out=root / "out", output=done.output)


@pytest.fixture(scope="module")
def figures(evaluated):
    return CrossvalFigures.model_validate_json((evaluated.out / "figures.json").read_bytes())


def test_every_source_has_its_own_figures_beside_the_pooled_ones(figures):
    assert list(figures.sources) == ["blood bank", "clinic"]
    assert sum(one.n for one in figures.sources.values()) == figures.pooled.n == 300
    assert figures.pooled.unreadable == figures.sources["clinic"].unreadable == 2
    assert figures.sources["blood bank"].blast_auc.value is None
    assert (figures.seed, figures.replicates, figures.folds) == (5, 200, 3)
    assert figures.digests == {"manifest_sha256": ("ab" * 32,)}
    assert figures.recipes == ("tiny",)


def test_the_auc_of_a_source_is_of_its_cells_alone(evaluated, figures):
    said = [
        (cell.label in BLAST, row[CODES.index("MYO")] + row[CODES.index("MOB")])
        for fold in read_crossval(evaluated.cv)
        for cell, row in zip(fold.predictions.cells, fold.predictions.probabilities, strict=True)
        if cell.source == "clinic"
    ]
    member, score = zip(*said, strict=True)
    auc = roc_auc_score(member, score)
    assert figures.sources["clinic"].blast_auc.value == pytest.approx(auc)


def test_tables_and_figures_are_there_for_all_and_for_each_source(evaluated):
    kinds = {"table1.csv", "table1.md"}
    kinds |= {f"{name}.{end}" for name in ("confusion", "reliability") for end in ("csv", "svg")}
    kinds |= {f"roc-{group}.{end}" for group in ("blast", "atypical") for end in ("csv", "pdf")}
    for name in ("pooled", "sources/clinic"):
        assert kinds <= {path.name for path in (evaluated.out / name).iterdir()}
    bank = {path.name for path in (evaluated.out / "sources" / "blood bank").iterdir()}
    assert "roc-atypical.svg" in bank
    assert "roc-blast.svg" not in bank


def test_the_confusion_matrix_file_sums_to_the_class_counts(evaluated):
    with (evaluated.out / "pooled" / "confusion.csv").open(newline="") as stream:
        rows = {row[""]: row for row in csv.DictReader(stream)}
    for code in CODES:
        of_class = sum(cell.label == code for cell in evaluated.cells)
        assert sum(int(rows[code][other]) for other in CODES) == of_class
        assert int(rows[code]["cells"]) == of_class


def test_the_roc_file_runs_from_corner_to_corner(evaluated):
    with (evaluated.out / "pooled" / "roc-blast.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    points = [(float(r["false_positive_rate"]), float(r["true_positive_rate"])) for r in rows]
    assert (points[0], points[-1]) == ((0, 0), (1, 1))
    assert points == sorted(points)


def test_the_report_states_n_unreadable_seed_unit_recipe_and_digest(evaluated):
    text = (evaluated.out / "report.md").read_text()
    for statement in (
        "300 cells held out once each; 2 more could not be read",
        "200 replicates, seed 5",
        "draws 12 patients and 100 cells with replacement",
        "Recipe: tiny.",
        f"manifest_sha256: {'ab' * 32}.",
        "Research use only. Not for diagnostic use.",
        "(chance) lies inside the interval",
        "No panel: no --root",
    ):
        assert statement in text


def test_every_figure_the_report_names_exists(evaluated):
    text = (evaluated.out / "report.md").read_text()
    named = [part.split(")")[0].replace("%20", " ") for part in text.split("](")[1:]]
    assert len(named) == 4 + 4 + 3
    assert all((evaluated.out / name).is_file() for name in named)


@pytest.fixture(scope="module")
def again(evaluated, tmp_path_factory):
    out = tmp_path_factory.mktemp("again") / "out"
    options = ("--bootstrap", 200, "--seed", 5, "--json")
    done = run("--crossval", evaluated.cv, "--out", out, *options)
    return SimpleNamespace(out=out, stdout=done.stdout, stderr=done.stderr)


def test_the_same_seed_writes_the_same_files(evaluated, again):
    written = sorted(path for path in evaluated.out.rglob("*.*") if path.is_file())
    assert len(written) == 2 + 14 + 14 + 11
    for path in written:
        assert (again.out / path.relative_to(evaluated.out)).read_bytes() == path.read_bytes()


def test_json_prints_the_figures_and_nothing_else(evaluated, again):
    assert json.loads(again.stdout) == json.loads((evaluated.out / "figures.json").read_text())
    assert again.stderr.startswith("no saliency panel: no --root")


def test_a_leaking_background_is_reported_outside_chance(tmp_path):
    write_crossval(tmp_path / "cv", leak=2.0)
    measured = measure_crossval(read_crossval(tmp_path / "cv"), replicates=200, seed=1)
    directories = dict.fromkeys(["pooled", *measured.sources], "d")
    write_report(
        tmp_path / "r.md",
        measured,
        directories=directories,
        s1=["examiners/s1-a-b"],
        saliency="saliency.svg",
        without_saliency="",
    )
    text = (tmp_path / "r.md").read_text()
    assert "AUC, P_blast: 0.5 (chance) lies outside the interval" in text
    assert "![examiners/s1-a-b](examiners/s1-a-b.svg)" in text
    assert "![saliency](saliency.svg)" in text
    assert "No panel" not in text


def test_crops_that_are_not_there_skip_the_panel_and_say_where_they_were_sought(
    evaluated, tmp_path
):
    folds = read_crossval(evaluated.cv)
    with pytest.raises(PanelUnavailable, match=f"{tmp_path}.*--root must be"):
        explain_examples(folds, choose_examples(folds, seed=1), root=tmp_path)


def test_examples_are_drawn_by_lot_from_right_and_wrong_cells_of_every_class(evaluated):
    folds = read_crossval(evaluated.cv)
    choices = choose_examples(folds, seed=1)
    assert choices == choose_examples(folds, seed=1)
    assert choices != choose_examples(folds, seed=2)
    right = [cell.label for _, cell, predicted in choices if predicted is cell.label]
    assert {code: right.count(code) for code in set(right)} == dict.fromkeys(
        {cell.label for cell in evaluated.cells}, PER_KIND + 2
    )
    assert all(cell in folds[index].predictions.cells for index, cell, _ in choices)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "give --manifest and --root, or --crossval and --out"),
        (("--crossval", "CV"), "--crossval needs --out"),
        (("--crossval", "CV", "--out", "o", "--manifest", "FILE"), "--manifest belongs to"),
        (("--crossval", "CV", "--out", "o", "--weights", "default"), "--weights belongs to"),
        (("--crossval", "CV", "--out", "o", "--split", "val"), "--split belongs to"),
        (("--manifest", "FILE"), "give --manifest and --root"),
        (("--manifest", "FILE", "--root", "CV", "--out", "o"), "--out belongs to --crossval"),
        (("--manifest", "FILE", "--root", "CV", "--paper-reference"), "--paper-reference belongs"),
        (("--manifest", "FILE", "--root", "CV", "--annotations", "FILE"), "--annotations belongs"),
    ],
)
def test_options_of_the_two_modes_do_not_mix(tmp_path, arguments, complaint):
    (tmp_path / "cv").mkdir()
    (tmp_path / "file").touch()
    real = {"CV": tmp_path / "cv", "FILE": tmp_path / "file"}
    done = run(*(real.get(argument, argument) for argument in arguments))
    assert done.exit_code == 2
    assert complaint in " ".join(done.output.split())


def test_a_directory_that_is_no_crossvalidation_is_named_without_a_traceback(tmp_path):
    done = run("--crossval", tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "holds no fold-1" in done.output


def test_different_sources_never_share_a_directory():
    names = ["", ".", "..", "a/b", "a%2Fb", "a b", "a.b", "clinic"]
    directories = [name_directory(name) for name in names]
    assert len(set(directories)) == len(names)
    assert all("/" not in name and name not in ("", ".", "..") for name in directories)


@dataclass
class Pair:
    first: str
    second: str
    n: int
    equal: float
    kappa: float
    codes: tuple[str, ...]
    counts: list[list[int]]


@dataclass
class Readers:
    points: tuple
    agreement: tuple


def test_two_examiners_become_a_matrix_of_the_first_by_the_second(tmp_path):
    pair = Pair("Examiner 1", "examiner 2", 10, 0.8, 0.6, ("MYO", "LYT"), [[5, 2], [0, 3]])
    (stem,) = write_examiners(tmp_path, Readers((), (pair,)))
    assert stem == "s1-examiner-1-examiner-2"
    rows = (tmp_path / f"{stem}.csv").read_text().splitlines()
    assert rows == [",MYO,LYT,cells", "MYO,5,2,7", "LYT,0,3,3"]
    assert (tmp_path / f"{stem}.svg").is_file()
    assert (tmp_path / f"{stem}.pdf").is_file()


def test_examiners_points_are_written_as_they_are(tmp_path):
    point = SimpleNamespace(
        examiner="1", group="blast", unc="dropped", sensitivity=0.9567, specificity=0.9113, n=1873
    )
    write_examiners(tmp_path, Readers((point,), ()))
    assert (tmp_path / "points.csv").read_text().splitlines() == [
        "examiner,group,unc,sensitivity,specificity,n",
        "1,blast,dropped,0.9567,0.9113,1873",
    ]


def write_run(fold, *, network="resnext50_32x4d"):
    """A fold's run whose network names every class and has not learnt any."""
    torch.manual_seed(1)
    state = build_network(network, len(CODES)).state_dict()
    saved = {"epoch": 0, "state_dict": {f"network.{name}": v for name, v in state.items()}}
    torch.save(saved, fold / "last.ckpt")
    recipe = {"name": "tiny", "network": network, "stages": [[1, 32]]}
    (fold / "recipe.json").write_text(json.dumps(recipe))
    (fold / "data.json").write_text(json.dumps({"counts": {"clinic": dict.fromkeys(CODES, 1)}}))
    (fold / "finished.json").write_text(json.dumps({"epochs": 1, "steps": 1}))


def test_the_panel_is_drawn_from_each_folds_own_network(tmp_path):
    cells = [cell for cell in make_cells(90) if cell.label in ("MYO", "NGS")]
    write_crossval(tmp_path / "cv", cells=cells)
    rng = np.random.default_rng(0)
    for cell in cells:
        path = tmp_path / "images" / cell.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (60, 60, 3), np.uint8)).save(path)
    for number in (1, 2, 3):
        write_run(tmp_path / "cv" / f"fold-{number}")
    folds = read_crossval(tmp_path / "cv")
    choices = choose_examples(folds, seed=1)
    examples = explain_examples(folds, choices, root=tmp_path / "images")
    kinds = Counter((one.label, one.label is one.predicted) for one in examples)
    assert max(kinds.values()) == PER_KIND
    assert {label for label, _ in kinds} == {"MYO", "NGS"}
    for one in examples:
        assert one.patch.shape == (400, 400, 3)
        assert one.saliency.shape == (400, 400)
        assert one.saliency.max() > 0
    (tmp_path / "cv" / "fold-2" / "last.ckpt").unlink()
    with pytest.raises(PanelUnavailable, match=r"fold-2 has no last\.ckpt"):
        explain_examples(folds, choices, root=tmp_path / "images")
