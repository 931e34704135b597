import json
from pathlib import Path

import numpy as np
import pytest

from models.training.detector.fields import drop_doubles, load_fields

BOX = [0.0, 0.0, 30.0, 10.0]


@pytest.mark.parametrize(
    ("other", "boxes"),
    [
        ([10.0, 0.0, 40.0, 10.0], 2),  # shares 200 of 400
        ([9.9, 0.0, 39.9, 10.0], 1),
        ([100.0, 0.0, 130.0, 10.0], 2),
        ([5.0, 20.0, 35.0, 30.0], 2),
    ],
)
def test_boxes_that_share_more_than_half_of_their_union_are_one_cell(
    other: list[float], boxes: int
) -> None:
    kept = drop_doubles(np.array([BOX, other]))
    assert len(kept) == boxes and (kept[0] == BOX).all()


def test_no_box_stays_no_box() -> None:
    assert drop_doubles(np.zeros((0, 4))).shape == (0, 4)


def test_a_cell_labelled_twice_is_loaded_once(tmp_path: Path) -> None:
    boxes = [["WBC", *BOX], ["RBC", 1, 0, 30, 10], ["WBC", 1, 0, 30, 10], ["WBC", 50, 0, 80, 10]]
    entry = {"path": "a.jpg", "source": "s", "split": "val", "um_per_px": 0.1, "boxes": boxes}
    (tmp_path / "fields.json").write_text(json.dumps([entry]))
    (field,) = load_fields(tmp_path / "fields.json", "val")
    assert field.boxes.tolist() == [BOX, [50.0, 0.0, 80.0, 10.0]]
