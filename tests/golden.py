"""The golden report, its schema and its exports; run as a module to write them anew."""

import io
import json
from pathlib import Path

from models.taxonomy import CellClass
from service.contract.report import Report
from service.exports.fhir import write_fhir
from service.exports.hl7 import write_hl7
from service.exports.labels import Labels
from tests.analyses import cells_of, certain, report_of

_FOLDER = Path(__file__).parent / "unit" / "service" / "golden"
GOLDEN_REPORT = _FOLDER / "report.json"
GOLDEN_SCHEMA = _FOLDER / "report.schema.json"
GOLDEN_FHIR = _FOLDER / "report.fhir.json"
GOLDEN_HL7 = _FOLDER / "report.hl7"
"""With a line feed after each segment, to be read; a message has a carriage return."""

LABELS = Labels(accession="A25-004711", specimen="S25-004711-1")

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


def golden_fhir() -> str:
    """The golden report as FHIR."""
    stream = io.StringIO(newline="")
    write_fhir(golden_report(), LABELS, stream)
    return stream.getvalue()


def golden_hl7() -> str:
    """The golden report as HL7 v2, segments ended by carriage returns."""
    stream = io.StringIO(newline="")
    write_hl7(golden_report(), LABELS, stream)
    return stream.getvalue()


if __name__ == "__main__":
    schema = Report.model_json_schema(mode="serialization")
    GOLDEN_REPORT.write_text(golden_report().model_dump_json(indent=2) + "\n", "utf-8")
    GOLDEN_SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", "utf-8")
    GOLDEN_FHIR.write_text(golden_fhir(), "utf-8")
    GOLDEN_HL7.write_text(golden_hl7().replace("\r", "\n"), "utf-8")
