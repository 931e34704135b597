r"""A report as an HL7 v2.5.1 message, ORU^R01.

The service knows no patient, so there is no PID segment: the PATIENT group is optional in ORU_R01,
while a PID needs a patient's number and name, and an "explicitly empty" one (`""`) would ask the
receiver to delete them. The receiver finds the patient by its own order number, OBR-2.

Free text is escaped as chapter 2.7 says: delimiters as \F\ \S\ \T\ \R\ \E\, and ASCII control
characters, which end a segment or frame a message, as \X..\ with their number in hexadecimal. No
other character is: readers disagree on how a longer one is written so.
"""

from base64 import b32encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, TextIO

from service.contract.report import ClassifierRecord, DetectorRecord, Report
from service.exports.coding import LOCAL_SYSTEM_V2, PANEL, Code
from service.exports.labels import Labels
from service.exports.observation import (
    ABSENCES,
    Component,
    Observation,
    format_number,
    list_flags,
    list_observations,
)

SEGMENT_END: Final = "\r"
CONTROL_ID_LENGTH: Final = 20
"""Most characters of MSH-10 in v2.5.1."""

_APPLICATION: Final = "smearscan"
_PRELIMINARY: Final = "P"
_NO_RESULT: Final = "X"
_HEX_ESCAPED: Final = (*range(0x20), 0x7F)
_ESCAPES: Final = str.maketrans(
    {
        "|": "\\F\\",
        "^": "\\S\\",
        "&": "\\T\\",
        "~": "\\R\\",
        "\\": "\\E\\",
        **{chr(point): f"\\X{point:02X}\\" for point in _HEX_ESCAPED},
        **{chr(point): "\N{REPLACEMENT CHARACTER}" for point in range(0xD800, 0xE000)},
    }
)


def write_hl7(report: Report, labels: Labels, stream: TextIO) -> None:
    r"""Write the message; segments end in \r. The same report and labels give the same message.

    A value that the model cannot give is an OBX without one and with the status X, followed by the
    reason; never a zero.

    Args:
        report: what was found.
        labels: the accession becomes OBR-2 (placer order number), the specimen SPM-2; the scan's
            name is OBR-3 (filler order number).
        stream: text, UTF-8, opened with `newline=""`. No byte order mark, no MLLP frame.
    """
    body = "".join(segment + SEGMENT_END for segment in _body(report, labels))
    stream.write(_header(report, body) + SEGMENT_END)
    stream.write(body)


def escape_text(text: str) -> str:
    r"""Text as it may stand in a component: without delimiters and without control characters.

    A lone surrogate, which UTF-8 cannot carry, becomes U+FFFD.
    """
    return text.translate(_ESCAPES)


def _header(report: Report, body: str) -> str:
    return _segment(
        "MSH",
        {
            2: _APPLICATION,
            6: _time(report.analysed_at),
            8: "ORU^R01^ORU_R01",
            9: _control_id(body),
            10: "P",
            11: "2.5.1",
            17: "UNICODE UTF-8",
        },
        first=r"^~\&",
    )


def _control_id(body: str) -> str:
    """The same for the same content, another for another: receivers drop repeated ids."""
    digest = sha256(body.encode()).digest()
    return b32encode(digest).decode()[:CONTROL_ID_LENGTH]


def _body(report: Report, labels: Labels) -> Iterator[str]:
    analysed_at = _time(report.analysed_at)
    yield _segment(
        "OBR",
        {
            1: "1",
            2: escape_text(labels.accession or ""),
            3: _join(report.scan_id, _APPLICATION),
            4: _code(PANEL.code, PANEL.name),
            22: analysed_at,
            24: "HM",
            25: _PRELIMINARY,
        },
    )
    yield from _notes(report.statement, *list_flags(report))
    rows = 0
    for observation in list_observations(report):
        for component in (observation.main, *observation.components):
            rows += 1
            yield _row(rows, observation, component, report.model, analysed_at)
            if component.absence is not None:
                yield from _notes(ABSENCES[component.absence])
            elif component is observation.main:
                yield from _notes(*observation.notes)
    for code, name, value in _list_software(report):
        rows += 1
        yield _segment(
            "OBX",
            {
                1: str(rows),
                2: "ST",
                3: _code(f"{PANEL.code}.{code}", name),
                5: escape_text(value),
                11: _PRELIMINARY,
                19: analysed_at,
            },
        )
    if labels.specimen is not None:
        yield _segment(
            "SPM",
            {1: "1", 2: escape_text(labels.specimen), 4: _join("BLD", "Whole blood", "HL70487")},
        )


def _row(
    number: int,
    observation: Observation,
    component: Component,
    model: ClassifierRecord,
    analysed_at: str,
) -> str:
    code = observation.code
    if component is observation.main:
        identifier = _code(code.code, component.name, code)
    else:
        identifier = _code(f"{code.code}.{component.code}", component.name)
    match component.value:
        case None:
            kind, value = "", ""
        case str() as text:
            kind, value = "ST", escape_text(text)
        case (lower, upper):
            kind, value = "SN", f"^{format_number(lower)}^-^{format_number(upper)}"
        case number_value:
            kind, value = "NM", format_number(number_value)
    unit = component.unit
    return _segment(
        "OBX",
        {
            1: str(number),
            2: kind,
            3: identifier,
            5: value,
            6: "" if unit is None else _join(unit.ucum, unit.name, "UCUM"),
            11: _PRELIMINARY if component.absence is None else _NO_RESULT,
            18: _join(f"{model.name} {model.version}", _APPLICATION),
            19: analysed_at,
        },
    )


def _list_software(report: Report) -> tuple[tuple[str, str, str], ...]:
    return (
        ("classifier", "Classifier weights", _describe(report.model)),
        ("detector", "Detector weights", _describe(report.detector)),
        ("software", "Software", f"{_APPLICATION} {report.versions.smearscan}"),
    )


def _describe(weights: ClassifierRecord | DetectorRecord) -> str:
    return f"{weights.name} {weights.version} sha256:{weights.sha256}"


def _notes(*sentences: str) -> Iterator[str]:
    for number, sentence in enumerate(sentences, 1):
        yield _segment("NTE", {1: str(number), 2: "L", 3: escape_text(sentence)})


def _code(code: str, name: str, with_loinc: Code | None = None) -> str:
    """Type CE: ours first, LOINC as the alternate."""
    term = None if with_loinc is None else with_loinc.loinc
    alternate = () if term is None else (term.code, term.name, "LN")
    return _join(code, name, LOCAL_SYSTEM_V2, *alternate)


def _join(*components: str) -> str:
    return "^".join(map(escape_text, components)).rstrip("^")


def _segment(name: str, fields: Mapping[int, str], first: str = "") -> str:
    """A segment of encoded fields by position; `first` stands before them in a header."""
    values = [fields.get(position, "") for position in range(1, max(fields) + 1)]
    if first:
        values[0] = first
    return "|".join((name, *values))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
