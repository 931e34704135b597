from pathlib import Path

import pytest

from models.taxonomy import CellClass
from worker.demo.truth import (
    DemoTruth,
    PlantedCell,
    TruthRegion,
    Zone,
    load_truth,
    save_truth,
    truth_path,
)


@pytest.fixture
def truth() -> DemoTruth:
    cell = PlantedCell(
        x_px=10.5,
        y_px=20.5,
        code=CellClass.MYO,
        diameter_um=14.2,
        zone=Zone.MONOLAYER,
        touching=False,
    )
    region = TruthRegion(kind=Zone.MONOLAYER, polygon=((0, 0), (90, 0), (90, 50), (0, 50)))
    return DemoTruth(
        seed=1,
        mm2=0.1,
        width=90,
        height=50,
        um_per_px=0.0725,
        stain="giemsa",
        blast_fraction=1.0,
        leukocytes=(cell,),
        regions=(region,),
    )


def test_a_truth_survives_the_disk(tmp_path: Path, truth: DemoTruth) -> None:
    written = save_truth(truth, tmp_path / "smear.tiff")
    assert written == tmp_path / "smear.truth.json"
    assert load_truth(written) == truth


def test_a_truth_is_found_beside_its_slide(tmp_path: Path, truth: DemoTruth) -> None:
    save_truth(truth, tmp_path / "smear.tiff")
    assert load_truth(tmp_path / "smear.tiff") == truth


def test_only_the_last_suffix_is_replaced() -> None:
    assert truth_path(Path("a/b.ome.tiff")) == Path("a/b.ome.truth.json")


def test_cells_are_listed_by_zone(truth: DemoTruth) -> None:
    assert truth.cells_in(Zone.MONOLAYER) == truth.leukocytes
    assert truth.cells_in(Zone.THICK) == ()


def test_a_missing_truth_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_truth(tmp_path / "smear.tiff")


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 2}'])
def test_a_damaged_truth_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "smear.truth.json").write_text(text)
    with pytest.raises(ValueError, match="validation error"):
        load_truth(tmp_path / "smear.tiff")
