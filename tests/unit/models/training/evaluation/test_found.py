import json

import pytest
from click.testing import CliRunner
from PIL import Image

from models.detector import Detector
from models.taxonomy import CellClass
from models.training.cli import train
from models.training.data.manifest import LabelledCell, write_manifest
from models.training.evaluation.found import keep_found
from tests.smears import paint_field

UM_PER_PX = 0.1
CENTRED, BESIDE = (180.0, 180.0), (180.0, 280.0)


@pytest.fixture
def cells(tmp_path):
    """Two crops with a leukocyte at their centre, one with it elsewhere, one broken file."""
    made = []
    for name, at in (("one", CENTRED), ("two", CENTRED), ("aside", BESIDE), ("broken", None)):
        path = tmp_path / f"{name}.png"
        if at is None:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(paint_field(360, 360, UM_PER_PX, leukocytes=[at])[0]).save(path)
        made.append(
            LabelledCell(path, "clinic", CellClass.EBO, "p1", UM_PER_PX, "val", name=path.name)
        )
    return made


def test_cells_that_the_detector_does_not_find_are_counted_by_source_and_label(cells):
    kept, missed = keep_found(Detector.load(), cells)
    assert [cell.name for cell in kept] == ["one.png", "two.png", "broken.png"]
    assert missed == {"clinic": {"EBO": 1}}


def test_an_evaluation_of_found_cells_says_how_many_were_not(cells, tmp_path):
    write_manifest(tmp_path / "cells.csv", cells)
    common = ("--manifest", tmp_path / "cells.csv", "--root", tmp_path, "--bootstrap", 100)
    found = ("--found-by", "default")
    done = CliRunner().invoke(train, ["evaluate", *map(str, (*common, *found, "--json"))])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["missed"] == {"clinic": {"EBO": 1}}
    assert result["sources"]["clinic"]["n"] == 2
    assert result["sources"]["clinic"]["unreadable"] == 1
    table = CliRunner().invoke(train, ["evaluate", *map(str, (*common, *found))])
    assert "not found by the detector, clinic: {'EBO': 1}" in table.stdout
    everything = CliRunner().invoke(train, ["evaluate", *map(str, (*common, "--json"))])
    assert json.loads(everything.stdout)["missed"] is None
    assert json.loads(everything.stdout)["sources"]["clinic"]["n"] == 3
