import io
import json
from collections.abc import Sequence
from math import hypot
from typing import Any
from uuid import UUID

import pytest

from models.taxonomy import CODES
from service.contract.cell import DoubtfulObject
from service.exports.geojson import write_geojson
from service.exports.palette import CLASS_COLOURS
from tests.analyses import cells_of, random_cells, report_of

REPORT, CELLS = report_of(random_cells(60))
EMPTY_REPORT, NO_CELLS = report_of(cells_of())


DOUBTFUL = [
    DoubtfulObject(id=1, x_px=10.5, y_px=20.0, diameter_um=12.0, detection_score=0.55),
    DoubtfulObject(id=2, x_px=90.0, y_px=20.0, diameter_um=9.0, detection_score=0.4),
]


def collection(
    report: Any = REPORT, cells: Any = CELLS, doubtful: Sequence[DoubtfulObject] = ()
) -> dict[str, Any]:
    stream = io.StringIO()
    write_geojson(report, cells, doubtful, stream)
    parsed: dict[str, Any] = json.loads(stream.getvalue())
    return parsed


def test_every_cell_is_a_detection_with_its_class() -> None:
    features = collection()["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == [
        cell.label for cell in CELLS
    ]
    assert {f["properties"]["objectType"] for f in features} == {"detection"}
    assert [f["properties"]["name"] for f in features] == [str(cell.id) for cell in CELLS]


def test_the_outline_is_a_closed_circle_of_the_cells_diameter_in_level_0_pixels() -> None:
    for cell, feature in zip(CELLS, collection()["features"], strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        radius_px = cell.diameter_um / REPORT.slide.um_per_px / 2
        for x, y in ring:
            assert hypot(x - cell.x_px, y - cell.y_px) == pytest.approx(radius_px, abs=0.02)


def test_doubtful_objects_follow_the_cells_under_a_class_of_their_own() -> None:
    features = collection(doubtful=DOUBTFUL)["features"]
    assert features[: len(CELLS)] == collection()["features"]
    own = features[len(CELLS) :]
    assert [f["properties"]["name"] for f in own] == ["doubtful 1", "doubtful 2"]
    assert {f["properties"]["classification"]["name"] for f in own} == {"Doubtful (not counted)"}
    assert [f["properties"]["measurements"]["Detection score"] for f in own] == [0.55, 0.4]
    assert len({f["id"] for f in features}) == len(features)
    x, y = own[0]["geometry"]["coordinates"][0][0]
    radius_px = 12.0 / REPORT.slide.um_per_px / 2
    assert hypot(x - 10.5, y - 20.0) == pytest.approx(radius_px, abs=0.02)


def test_measurements_are_the_cells_probabilities() -> None:
    for cell, feature in zip(CELLS, collection()["features"], strict=True):
        measurements = feature["properties"]["measurements"]
        read = {code: measurements[f"P {code}"] for code in CODES if f"P {code}" in measurements}
        assert read == cell.probabilities
        assert measurements["P blast"] == cell.p_blast


def test_ids_are_uuids_that_differ_within_a_scan_and_between_scans() -> None:
    ids = {UUID(feature["id"]) for feature in collection()["features"]}
    other = REPORT.model_copy(update={"scan_id": "scan-0002"})
    others = {UUID(feature["id"]) for feature in collection(other)["features"]}
    assert len(ids | others) == 2 * len(CELLS)


def test_the_same_scan_gives_the_same_file() -> None:
    assert collection() == collection()


def test_an_empty_slide_gives_an_empty_collection() -> None:
    assert collection(EMPTY_REPORT, NO_CELLS) == {"type": "FeatureCollection", "features": []}


def test_every_class_has_a_colour_of_its_own() -> None:
    assert set(CLASS_COLOURS) == set(CODES)
    assert len(set(CLASS_COLOURS.values())) == len(CODES)
