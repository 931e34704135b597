"""Cells as GeoJSON that QuPath (0.4 and later) imports as detections.

Coordinates are level-0 pixels, origin at the slide's top left corner, y down: QuPath's own frame.
Field names as its importer reads them (qupath-core, QuPathTypeAdapters.java): a UUID `id`,
`objectType`, `classification` with an RGB `color`, `measurements` as a map of numbers, `metadata`
as a map of strings.
"""

import json
from collections.abc import Iterable
from itertools import chain
from math import cos, pi, sin
from typing import Any, Final, TextIO
from uuid import NAMESPACE_OID, UUID, uuid5

from service.contract.cell import Cell, DoubtfulObject
from service.contract.report import Report
from service.exports.palette import CLASS_COLOURS, Rgb

VERTICES: Final = 24
_CIRCLE: Final = tuple(
    (cos(2 * pi * i / VERTICES), sin(2 * pi * i / VERTICES)) for i in range(VERTICES)
)


DOUBTFUL: Final = "Doubtful (not counted)"
DOUBTFUL_COLOUR: Final = (255, 255, 0)


def write_geojson(
    report: Report, cells: Iterable[Cell], doubtful: Iterable[DoubtfulObject], stream: TextIO
) -> None:
    """Write a FeatureCollection, one feature a line; memory does not grow with their number.

    Each cell is a circle of the detector's diameter, as a closed polygon; after the cells come the
    doubtful objects, under a class of their own. A class that the model does not support has no
    measurement.
    """
    namespace, um_per_px = uuid5(NAMESPACE_OID, report.scan_id), report.slide.um_per_px
    features = chain(
        (_feature_cell(cell, um_per_px, namespace) for cell in cells),
        (
            _feature(one, f"doubtful {one.id}", DOUBTFUL, DOUBTFUL_COLOUR, um_per_px, namespace)
            for one in doubtful
        ),
    )
    stream.write('{"type": "FeatureCollection", "features": [')
    separator = "\n"
    for feature in features:
        stream.write(separator)
        stream.write(json.dumps(feature, allow_nan=False))
        separator = ",\n"
    stream.write("\n]}\n")


def _feature_cell(cell: Cell, um_per_px: float, namespace: UUID) -> dict[str, Any]:
    colour = CLASS_COLOURS[cell.label]
    feature = _feature(cell, str(cell.id), cell.label.value, colour, um_per_px, namespace)
    measurements = {
        "P blast": cell.p_blast,
        "P atypical": cell.p_atypical,
        **{f"P {code}": p for code, p in cell.probabilities.items()},
    }
    known = {name: value for name, value in measurements.items() if value is not None}
    feature["properties"]["measurements"] |= known
    feature["properties"]["metadata"] = {"flags": " ".join(cell.flags)}
    return feature


def _feature(
    found: Cell | DoubtfulObject,
    name: str,
    classification: str,
    colour: Rgb,
    um_per_px: float,
    namespace: UUID,
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": str(uuid5(namespace, name)),
        "geometry": {"type": "Polygon", "coordinates": [_ring(found, um_per_px)]},
        "properties": {
            "objectType": "detection",
            "name": name,
            "classification": {"name": classification, "color": list(colour)},
            "measurements": {
                "Diameter µm": found.diameter_um,
                "Detection score": found.detection_score,
            },
        },
    }


def _ring(found: Cell | DoubtfulObject, um_per_px: float) -> list[list[float]]:
    """The circle's vertices, level-0 px, the first repeated at the end."""
    radius = found.diameter_um / um_per_px / 2
    ring = [
        [round(found.x_px + radius * c, 2), round(found.y_px + radius * s, 2)] for c, s in _CIRCLE
    ]
    return [*ring, ring[0]]
