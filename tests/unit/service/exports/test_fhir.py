"""FHIR R4, checked against the R4B models of fhir.resources.

R4B (4.3.0) changed none of the resources used here from R4 (4.0.1): see docs/exports.md. After a
deliberate change write the golden file anew: `python -m tests.golden`.
"""

import io
import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.taxonomy import CODES, CellClass
from service.contract.report import STATEMENT, Report
from service.exports.coding import LOCAL_SYSTEM
from service.exports.fhir import WEIGHTS_SYSTEM, clean_text, write_fhir
from service.exports.labels import Labels
from tests.exported import REPORTS, regrouped_report
from tests.golden import GOLDEN_FHIR, LABELS, golden_fhir, golden_report

LOINC = "http://loinc.org"
SPECIAL = "<>&\"'\\\x00\x0b\x1f\x7f\r\n\t\ufffe\uffff µé"
TEXTS = st.text(max_size=128) | st.text(alphabet=SPECIAL, max_size=128)


def bundle(report: Report, labels: Labels = LABELS) -> dict[str, Any]:
    stream = io.StringIO()
    write_fhir(report, labels, stream)
    parsed: dict[str, Any] = json.loads(stream.getvalue())
    return parsed


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = (entry["resource"] for entry in bundle["entry"])
    return [resource for resource in found if resource["resourceType"] == kind]


def code_of(concept: dict[str, Any], system: str = LOCAL_SYSTEM) -> str | None:
    codes = [coding["code"] for coding in concept["coding"] if coding["system"] == system]
    return codes[0] if codes else None


def observations(report: Report) -> dict[str, dict[str, Any]]:
    return {str(code_of(o["code"])): o for o in resources(bundle(report), "Observation")}


def components(observation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(code_of(part["code"])): part for part in observation["component"]}


def reason(element: dict[str, Any]) -> str:
    """Why there is no value; fails if there is one."""
    assert not [name for name in element if name.startswith("value")]
    (coding,) = element["dataAbsentReason"]["coding"]
    assert coding["system"] == "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    return str(coding["code"])


def text_of(report_resource: dict[str, Any]) -> str:
    """The words of the narrative, which must be well-formed XHTML."""
    return " ".join(ElementTree.fromstring(report_resource["text"]["div"]).itertext())


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("labels", [LABELS, Labels()], ids=["labels", "no labels"])
def test_the_bundle_is_valid(report: Report, labels: Labels) -> None:
    checked = Bundle.model_validate(bundle(report, labels))
    assert checked.type == "collection"
    assert len(checked.entry) == len(bundle(report, labels)["entry"])


@pytest.mark.parametrize(
    "change", [{"status": None}, {"status": ""}, {"conclusions": "x"}, {"issued": "yesterday"}]
)
def test_the_validator_would_notice(change: dict[str, Any]) -> None:
    broken = bundle(golden_report())
    broken["entry"][0]["resource"] |= change
    with pytest.raises(ValidationError):
        Bundle.model_validate(broken)


def test_the_golden_bundle_stays_as_it_was() -> None:
    assert golden_fhir() == GOLDEN_FHIR.read_text("utf-8")


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_everything_is_preliminary_and_says_what_it_is_not_for(report: Report) -> None:
    whole = bundle(report)
    (head,) = resources(whole, "DiagnosticReport")
    statuses = {o["status"] for o in (head, *resources(whole, "Observation"))}
    assert statuses == {"preliminary"}
    assert head["conclusion"].startswith(STATEMENT)
    assert STATEMENT in text_of(head)


def test_every_reference_leads_to_an_entry() -> None:
    whole = bundle(golden_report())
    urls = [entry["fullUrl"] for entry in whole["entry"]]
    references = re.findall(r'"reference": "([^"]+)"', json.dumps(whole))
    assert len(set(urls)) == len(urls)
    assert set(references) <= set(urls)
    (head,) = resources(whole, "DiagnosticReport")
    assert len(head["result"]) == len(resources(whole, "Observation")) == 3 + len(CODES)


def test_entries_of_another_scan_have_other_urls() -> None:
    report = golden_report()
    other = report.model_copy(update={"scan_id": "scan-0002"})
    ours, theirs = ({entry["fullUrl"] for entry in bundle(r)["entry"]} for r in (report, other))
    assert not ours & theirs


def test_no_patient_is_named() -> None:
    whole = bundle(golden_report())
    assert resources(whole, "Patient") == []
    assert '"subject"' not in json.dumps(whole)


def test_the_laboratorys_names_are_identifiers() -> None:
    whole = bundle(golden_report())
    (head,), (specimen,) = resources(whole, "DiagnosticReport"), resources(whole, "Specimen")
    kinds = {i["type"]["coding"][0]["code"]: i["value"] for i in head["identifier"]}
    assert kinds == {"FILL": golden_report().scan_id, "ACSN": LABELS.accession}
    assert specimen["accessionIdentifier"]["value"] == LABELS.accession
    assert specimen["identifier"] == [{"value": LABELS.specimen}]


@pytest.mark.parametrize("labels", [Labels(), Labels(accession=" ", specimen="\n")])
def test_without_labels_there_is_no_specimen(labels: Labels) -> None:
    whole = bundle(golden_report(), labels)
    assert resources(whole, "Specimen") == []
    assert "specimen" not in resources(whole, "DiagnosticReport")[0]


def test_weights_and_software_are_devices() -> None:
    report = golden_report()
    software, classifier, detector = resources(bundle(report), "Device")
    assert software["version"] == [{"value": report.versions.smearscan}]
    for device, weights in ((classifier, report.model), (detector, report.detector)):
        assert device["deviceName"][0]["name"] == weights.name
        assert device["version"] == [{"value": weights.version}]
        assert device["identifier"] == [{"system": WEIGHTS_SYSTEM, "value": weights.sha256}]


def test_every_class_has_the_reports_numbers() -> None:
    report = REPORTS["mixed"]
    found = observations(report)
    for code, count in report.counts.items():
        if count is not None:
            assert components(found[code])["count"]["valueQuantity"]["value"] == count
    for code, share in report.differential.items():
        if share is not None:
            quantity = found[code]["valueQuantity"]
            assert (quantity["value"], quantity["code"]) == (share.percent, "%")
            interval = components(found[code])["ci95"]["valueRange"]
            assert (interval["low"]["value"], interval["high"]["value"]) == share.ci95
    for code, per_100 in report.per_100_leukocytes.items():
        quantity = found[code]["valueQuantity"]
        assert (quantity["value"], quantity["code"]) == (per_100, "/100{WBCs}")


def test_each_group_has_the_reports_numbers() -> None:
    report = REPORTS["mixed"]
    found = observations(report)
    for code, group in (("BLAST", report.blast), ("ATYPICAL", report.atypical)):
        parts = components(found[code])
        assert found[code]["valueQuantity"]["value"] == group.percent
        assert parts["count"]["valueQuantity"]["value"] == group.count
        assert parts["expected"]["valueQuantity"]["value"] == group.expected_count
        assert parts["threshold"]["valueQuantity"]["value"] == group.threshold
        assert parts["outside"]["valueQuantity"]["value"] == group.outside_denominator
        assert parts["classes"]["valueString"].split() == list(group.classes)
        assert parts["missing"]["valueString"].split() == list(group.unsupported_classes)


def test_an_unsupported_class_is_absent_as_unsupported() -> None:
    for code in ("MOB", "PMB"):
        observation = observations(golden_report())[code]
        parts = components(observation)
        assert [reason(element) for element in (observation, *parts.values())] == [
            "unsupported",
            "unsupported",
            "unsupported",
        ]


def test_a_count_without_a_supported_class_is_absent_as_unsupported() -> None:
    observation = observations(REPORTS["no blast class"])["BLAST"]
    parts = components(observation)
    absent = [observation, *(parts[name] for name in ("count", "ci95", "expected", "outside"))]
    assert {reason(element) for element in absent} == {"unsupported"}
    (head,) = resources(bundle(REPORTS["no blast class"]), "DiagnosticReport")
    assert "blasts (MOB MYO): an unknown number of 50 leukocytes." in head["conclusion"]


@pytest.mark.parametrize("name", ["no cells", "no leukocytes"])
def test_without_leukocytes_counts_are_numbers_and_percentages_are_absent(name: str) -> None:
    found = observations(REPORTS[name])
    for code in ("NGS", "BLAST", "EBO", "KSC"):
        assert reason(found[code]) == "not-applicable"
        count = REPORTS[name].counts[CellClass(code)] if code != "BLAST" else 0
        assert components(found[code])["count"]["valueQuantity"]["value"] == count
    for code in ("NGS", "BLAST"):
        assert reason(components(found[code])["ci95"]) == "not-applicable"


@pytest.mark.parametrize(
    ("name", "code", "loinc"),
    [
        ("every class", "BLAST", "26446-5"),
        ("golden", "BLAST", None),
        ("regrouped", "BLAST-REGROUPED", None),
    ],
)
def test_only_a_whole_blast_count_is_loincs(name: str, code: str, loinc: str | None) -> None:
    assert code_of(observations(REPORTS[name])[code]["code"], LOINC) == loinc


def test_a_regrouped_count_says_its_name_and_classes() -> None:
    observation = observations(REPORTS["regrouped"])["BLAST-REGROUPED"]
    parts = components(observation)
    assert parts["group"]["valueString"] == "blasts & <promyelocytes>"
    assert parts["classes"]["valueString"] == "MOB MYO PMO"
    assert observation["note"][0]["text"] == (
        "blasts & <promyelocytes>: monoblast (MOB), myeloblast (MYO), promyelocyte (PMO)."
    )


def test_the_panel_has_every_flag_as_a_note_and_every_observation_as_a_member() -> None:
    report = golden_report()
    panel = observations(report)["DIFF"]
    statement, *flags = (note["text"] for note in panel["note"])
    assert statement == STATEMENT
    for note, flag in zip(flags, report.quality.flags, strict=True):
        assert flag.code in note
        assert flag.message in note
    assert len(panel["hasMember"]) == 2 + len(CODES)


def test_who_reads_the_conclusion_alone_reads_the_warnings() -> None:
    report = golden_report()
    (head,) = resources(bundle(report), "DiagnosticReport")
    assert (
        "blasts (MOB MYO): 9 of 198 leukocytes, 4.5455 % (95 % interval 2.0992–8.4531 %)."
        in (head["conclusion"])
    )
    for flag in report.quality.flags:
        assert (flag.message in head["conclusion"]) == (flag.severity == "warning")
        assert flag.message in text_of(head)


@settings(deadline=None)
@given(TEXTS.filter(str.strip), TEXTS.filter(str.strip))
def test_any_labels_come_back_as_they_were_but_for_forbidden_characters(
    accession: str, specimen: str
) -> None:
    whole = bundle(golden_report(), Labels(accession=accession, specimen=specimen))
    (resource,) = resources(whole, "Specimen")
    Bundle.model_validate({**whole, "entry": [whole["entry"][0], whole["entry"][-1]]})
    for element, text in (
        (resource["accessionIdentifier"], accession),
        (resource["identifier"][0], specimen),
    ):
        assert element["value"] == re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "�", text)


@settings(deadline=None)
@given(TEXTS.filter(lambda text: 0 < len(text) <= 80))
def test_any_name_of_a_group_leaves_the_narrative_well_formed(name: str) -> None:
    (head,) = resources(bundle(regrouped_report(name)), "DiagnosticReport")
    expected = clean_text(name).replace("\r\n", "\n").replace("\r", "\n")  # as XML reads them
    assert f"{expected} (MOB MYO PMO): 8 of 68 leukocytes" in text_of(head)


def test_a_lone_surrogate_is_replaced() -> None:
    assert clean_text("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"
