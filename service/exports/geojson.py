"""Cells as GeoJSON that QuPath (0.4 and later) imports as detections.

Coordinates are level-0 pixels, origin at the slide's top left corner, y down: QuPath's own frame.
Field names as its importer reads them (qupath-core, QuPathTypeAdapters.java): a UUID `id`,
`objectType`, `classification` with an RGB `color`, `measurements` as a map of numbers, `metadata`
as a map of strings.
"""

import json
from collections.abc import Iterable
from math import cos, pi, sin
from typing import Any, Final, TextIO
from uuid import NAMESPACE_OID, UUID, uuid5

from service.contract.cell import Cell
from service.contract.report import Report
from service.exports.palette import CLASS_COLOURS

VERTICES: Final = 24
_CIRCLE: Final = tuple(
    (cos(2 * pi * i / VERTICES), sin(2 * pi * i / VERTICES)) for i in range(VERTICES)
)


def write_geojson(report: Report, cells: Iterable[Cell], stream: TextIO) -> None:
    """Write a FeatureCollection, one feature a line; memory does not grow with their number.

    Each cell is a circle of the detector's diameter, as a closed polygon. A class that the model
    does not support has no measurement.
    """
    namespace = uuid5(NAMESPACE_OID, report.scan_id)
    stream.write('{"type": "FeatureCollection", "features": [')
    separator = "\n"
    for cell in cells:
        stream.write(separator)
        feature = _feature(cell, report.slide.um_per_px, namespace)
        stream.write(json.dumps(feature, allow_nan=False))
        separator = ",\n"
    stream.write("\n]}\n")


def _feature(cell: Cell, um_per_px: float, namespace: UUID) -> dict[str, Any]:
    measurements = {
        "Diameter µm": cell.diameter_um,
        "Detection score": cell.detection_score,
        "P blast": cell.p_blast,
        "P atypical": cell.p_atypical,
        **{f"P {code}": p for code, p in cell.probabilities.items()},
    }
    return {
        "type": "Feature",
        "id": str(uuid5(namespace, str(cell.id))),
        "geometry": {"type": "Polygon", "coordinates": [_ring(cell, um_per_px)]},
        "properties": {
            "objectType": "detection",
            "name": str(cell.id),
            "classification": {
                "name": cell.label.value,
                "color": list(CLASS_COLOURS[cell.label]),
            },
            "measurements": {
                name: value for name, value in measurements.items() if value is not None
            },
            "metadata": {"flags": " ".join(cell.flags)},
        },
    }


def _ring(cell: Cell, um_per_px: float) -> list[list[float]]:
    """The circle's vertices, level-0 px, the first repeated at the end."""
    radius = cell.diameter_um / um_per_px / 2
    ring = [
        [round(cell.x_px + radius * c, 2), round(cell.y_px + radius * s, 2)] for c, s in _CIRCLE
    ]
    return [*ring, ring[0]]
