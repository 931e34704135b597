"""A report as FHIR R4 (4.0.1): a Bundle of type `collection`.

One DiagnosticReport; one Observation for the panel, for each group and for each class; a Device for
the software and for each network; a Specimen when the laboratory named something. No Patient: the
service knows none. Not a `document`, which is a signed whole with an author, and not a
`transaction`, which would tell the receiver's server what to do (docs/decisions/0013).

Everything is `preliminary`. A value that cannot be given has a `dataAbsentReason`, never a zero.
"""

import json
from collections.abc import Iterator
from datetime import UTC
from html import escape
from typing import Any, Final, TextIO
from uuid import NAMESPACE_OID, UUID, uuid5

from service.contract.report import ClassifierRecord, DetectorRecord, Report
from service.exports.coding import LOCAL_SYSTEM, PANEL, Code, Unit
from service.exports.labels import Labels
from service.exports.observation import (
    ABSENCES,
    Absence,
    Component,
    Observation,
    list_flags,
    list_observations,
    list_warnings,
    summarise,
)

Json = dict[str, Any]

SCAN_SYSTEM: Final = "urn:smearscan:scan"
WEIGHTS_SYSTEM: Final = "urn:smearscan:weights-sha256"

_LOINC: Final = "http://loinc.org"
_UCUM: Final = "http://unitsofmeasure.org"
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
_XHTML: Final = "http://www.w3.org/1999/xhtml"
_ABSENT_REASONS: Final = {
    Absence.UNSUPPORTED: ("unsupported", "Unsupported"),
    Absence.NO_LEUKOCYTES: ("not-applicable", "Not Applicable"),
    Absence.ERRORS_HIDE_ALL: ("not-applicable", "Not Applicable"),
}
_NOT_IN_A_STRING: Final = dict.fromkeys(
    (
        *(point for point in range(0x20) if chr(point) not in "\t\n\r"),
        *range(0xD800, 0xE000),
        0xFFFE,
        0xFFFF,
    ),
    "\N{REPLACEMENT CHARACTER}",
)
"""What neither a FHIR string nor XML may hold."""


def write_fhir(report: Report, labels: Labels, stream: TextIO) -> None:
    """Write the Bundle. The same report and labels give the same text.

    A character that FHIR forbids in a string (most control characters) becomes U+FFFD.

    Args:
        report: what was found.
        labels: the accession becomes the report's and the specimen's accession identifier.
        stream: text, UTF-8.
    """
    bundle = {
        "resourceType": "Bundle",
        "identifier": {"system": SCAN_SYSTEM, "value": report.scan_id},
        "type": "collection",
        "entry": [
            {"fullUrl": url, "resource": resource}
            for url, resource in _list_resources(report, labels)
        ],
    }
    json.dump(bundle, stream, ensure_ascii=False, allow_nan=False, indent=2)
    stream.write("\n")


def clean_text(text: str) -> str:
    """Text as a FHIR string and XML may hold it."""
    return text.translate(_NOT_IN_A_STRING)


def _list_resources(report: Report, labels: Labels) -> Iterator[tuple[str, Json]]:
    """Resources with their full URL, the DiagnosticReport first."""
    scan = uuid5(NAMESPACE_OID, report.scan_id)
    observations = list_observations(report)
    urls = [_name_url(scan, observation.code.code) for observation in observations]
    software = _name_url(scan, "software")
    classifier = _name_url(scan, "classifier")
    specimen = None
    if labels.accession is not None or labels.specimen is not None:
        specimen = _name_url(scan, "specimen")

    yield _name_url(scan, "report"), _report(report, labels, urls, specimen)
    for url, observation in zip(urls, observations, strict=True):
        resource = _observation(observation, report, specimen, classifier)
        if observation.code is PANEL:
            resource["note"] = [
                {"text": clean_text(text)} for text in (report.statement, *list_flags(report))
            ]
            resource["hasMember"] = [{"reference": member} for member in urls[1:]]
        yield url, resource
    yield software, _software(report)
    yield classifier, _weights(report.model, "Leukocyte classifier", software)
    yield _name_url(scan, "detector"), _weights(report.detector, "Leukocyte detector", software)
    if specimen is not None:
        yield specimen, _specimen(labels)


def _report(report: Report, labels: Labels, results: list[str], specimen: str | None) -> Json:
    identifiers: list[Json] = [
        {"type": _type("FILL", "Filler Identifier"), "system": SCAN_SYSTEM, "value": report.scan_id}
    ]
    if labels.accession is not None:
        identifiers.append(_accession(labels.accession))
    return {
        "resourceType": "DiagnosticReport",
        "text": _narrative(report),
        "identifier": identifiers,
        "status": "preliminary",
        "category": [_concept(f"{_TERMINOLOGY}/v2-0074", "HM", "Hematology")],
        "code": _code(PANEL),
        "issued": _instant(report),
        **_refer("specimen", specimen, many=True),
        "result": [{"reference": url} for url in results],
        "conclusion": clean_text(" ".join((*summarise(report), *list_warnings(report)))),
    }


def _observation(
    observation: Observation, report: Report, specimen: str | None, device: str
) -> Json:
    resource: Json = {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [_concept(f"{_TERMINOLOGY}/observation-category", "laboratory", "Laboratory")],
        "code": _code(observation.code),
        "issued": _instant(report),
        **_value(observation.main),
        **_refer("specimen", specimen),
        "device": {"reference": device},
        "component": [
            {"code": _code(Code(part.code, part.name)), **_value(part)}
            for part in observation.components
        ],
    }
    if observation.notes:
        resource["note"] = [{"text": clean_text(text)} for text in observation.notes]
    return resource


def _value(component: Component) -> Json:
    """`value[x]`, or the reason why there is none."""
    if component.absence is not None:
        code, display = _ABSENT_REASONS[component.absence]
        reason = _concept(f"{_TERMINOLOGY}/data-absent-reason", code, display)
        return {"dataAbsentReason": reason | {"text": ABSENCES[component.absence]}}
    match component.value:
        case str() as text:
            return {"valueString": clean_text(text)}
        case (lower, upper):
            ends = {"low": lower, "high": upper}
            return {
                "valueRange": {end: _quantity(value, component.unit) for end, value in ends.items()}
            }
        case number:
            return {"valueQuantity": _quantity(number, component.unit)}


def _quantity(value: object, unit: Unit | None) -> Json:
    assert unit is not None
    return {"value": value, "unit": unit.name, "system": _UCUM, "code": unit.ucum}


def _software(report: Report) -> Json:
    return {
        "resourceType": "Device",
        "deviceName": [{"name": "smearscan", "type": "model-name"}],
        "type": {"text": "Software, research use only"},
        "version": [{"value": report.versions.smearscan}],
    }


def _weights(weights: ClassifierRecord | DetectorRecord, kind: str, software: str) -> Json:
    return {
        "resourceType": "Device",
        "identifier": [{"system": WEIGHTS_SYSTEM, "value": weights.sha256}],
        "deviceName": [{"name": clean_text(weights.name), "type": "model-name"}],
        "type": {"text": kind},
        "version": [{"value": clean_text(weights.version)}],
        "parent": {"reference": software},
    }


def _specimen(labels: Labels) -> Json:
    specimen: Json = {"resourceType": "Specimen", "type": {"text": "Peripheral blood smear"}}
    if labels.specimen is not None:
        specimen["identifier"] = [{"value": clean_text(labels.specimen)}]
    if labels.accession is not None:
        specimen["accessionIdentifier"] = _accession(labels.accession)
    return specimen


def _accession(text: str) -> Json:
    """Without a system: whose number it is, only the laboratory knows."""
    return {"type": _type("ACSN", "Accession ID"), "value": clean_text(text)}


def _narrative(report: Report) -> Json:
    sentences = (*summarise(report), *list_flags(report))
    paragraphs = "".join(f"<p>{escape(clean_text(sentence))}</p>" for sentence in sentences)
    return {"status": "generated", "div": f'<div xmlns="{_XHTML}">{paragraphs}</div>'}


def _code(code: Code) -> Json:
    codings: list[Json] = [{"system": LOCAL_SYSTEM, "code": code.code, "display": code.name}]
    if code.loinc is not None:
        term = code.loinc
        codings.append({"system": _LOINC, "code": term.code, "display": term.name})
    return {"coding": codings, "text": code.name}


def _type(code: str, display: str) -> Json:
    return _concept(f"{_TERMINOLOGY}/v2-0203", code, display)


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _refer(element: str, url: str | None, *, many: bool = False) -> Json:
    """A reference under that name; nothing where there is nothing to refer to."""
    if url is None:
        return {}
    reference = {"reference": url}
    return {element: [reference] if many else reference}


def _name_url(scan: UUID, name: str) -> str:
    return uuid5(scan, f"fhir:{name}").urn


def _instant(report: Report) -> str:
    return report.analysed_at.astimezone(UTC).isoformat(timespec="seconds")
