"""The golden report and its schema; run as a module to write them anew."""

import json
from pathlib import Path

from models.taxonomy import CellClass
from service.contract.report import Report
from tests.analyses import cells_of, certain, report_of

_FOLDER = Path(__file__).parent / "unit" / "service" / "golden"
GOLDEN_REPORT = _FOLDER / "report.json"
GOLDEN_SCHEMA = _FOLDER / "report.schema.json"

CELLS = cells_of(
    *(
        certain(code, probability)
        for code, n, probability in (
            (CellClass.NGS, 120, 0.97),
            (CellClass.LYT, 48, 0.91),
            (CellClass.MON, 12, 0.83),
            (CellClass.MYO, 9, 0.88),
            (CellClass.MYO, 1, 0.45),
            (CellClass.EOS, 5, 0.99),
            (CellClass.BAS, 1, 0.62),
            (CellClass.PMO, 2, 0.71),
            (CellClass.EBO, 3, 0.93),
            (CellClass.KSC, 6, 0.77),
        )
        for _ in range(n)
    )
)


def golden_report() -> Report:
    """Of CELLS, in which every probability was written by hand."""
    report, _ = report_of(CELLS)
    return report


if __name__ == "__main__":
    schema = Report.model_json_schema(mode="serialization")
    GOLDEN_REPORT.write_text(golden_report().model_dump_json(indent=2) + "\n", "utf-8")
    GOLDEN_SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", "utf-8")
