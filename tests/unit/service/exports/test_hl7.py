r"""HL7 v2.5.1, read back with hl7apy at its strict level.

hl7apy leaves escape sequences as they are, so `unescape` here reads them as chapter 2.7 says. After
a deliberate change of the message write the golden file anew: `python -m tests.golden`.
"""

import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message, parse_segment
from hl7apy.validation import Validator
from hypothesis import given, settings
from hypothesis import strategies as st

from models.taxonomy import CODES, CellClass
from service.contract.report import STATEMENT, Report
from service.exports.hl7 import CONTROL_ID_LENGTH, escape_text, write_hl7
from service.exports.labels import Labels
from tests.exported import REPORTS, regrouped_report
from tests.golden import GOLDEN_HL7, LABELS, golden_hl7, golden_report

SYMBOLS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}
SPECIAL = "|^~\\&\r\n\x00\x0b\x1c\x7f\x85\u2028\u2029 µF.éX0D"
TEXTS = st.text(max_size=128) | st.text(alphabet=SPECIAL, max_size=128)


def unescape(text: str) -> str:
    """Escape sequences as HL7 v2.5.1, 2.7, says."""

    def read(sequence: re.Match[str]) -> str:
        body = sequence[1]
        return chr(int(body[1:], 16)) if body[0] == "X" else SYMBOLS[body]

    return re.sub(r"\\([FSTRE]|X[0-7][0-9A-F])\\", read, text)


def as_text(report: Report, labels: Labels = LABELS) -> str:
    stream = io.StringIO(newline="")
    write_hl7(report, labels, stream)
    return stream.getvalue()


@cache
def parse(text: str) -> Any:
    return parse_message(text, VALIDATION_LEVEL.STRICT, find_groups=True)


def order(text: str) -> Any:
    return parse(text).oru_r01_patient_result.oru_r01_order_observation


def segment(text: str, name: str) -> Any:
    """The only segment of that name."""
    (line,) = (line for line in text.split("\r") if line.startswith(f"{name}|"))
    return parse_segment(line, "2.5.1", None, VALIDATION_LEVEL.STRICT)


def raw(component: Any) -> str:
    """The text of a component's only subcomponent as parsed: `value` escapes sequences anew."""
    (subcomponent,) = component.children
    return str(subcomponent.value.value)


def rows(report: Report, labels: Labels = LABELS) -> dict[str, Any]:
    """OBX groups by our code."""
    found = {}
    for group in order(as_text(report, labels)).oru_r01_observation:
        found[group.obx.obx_3.ce_1.value] = group
    return found


def value(group: Any) -> str:
    return str(group.obx.obx_5.to_er7())


def notes(group: Any) -> list[str]:
    return [unescape(note.nte_3.value) for note in group.nte]


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("labels", [LABELS, Labels()], ids=["labels", "no labels"])
def test_the_message_is_valid(report: Report, labels: Labels, tmp_path: Path) -> None:
    findings = tmp_path / "findings.txt"
    assert Validator.validate(parse(as_text(report, labels)), report_file=str(findings))
    # Table 0396 in hl7apy has the pattern "99zzz" as a value, and lacks UCUM, added to it later.
    others = re.sub(
        r"Warning: Value (99SMS|UCUM|HL70487) not in table HL70396 in element \S+\n",
        "",
        findings.read_text("utf-8"),
    )
    assert others == ""


def test_the_golden_message_stays_as_it_was() -> None:
    assert golden_hl7().replace("\r", "\n") == GOLDEN_HL7.read_text("utf-8")


def test_the_header_names_type_version_and_character_set() -> None:
    header = parse(as_text(golden_report())).msh
    assert header.msh_9.to_er7() == "ORU^R01^ORU_R01"
    assert header.msh_12.to_er7() == "2.5.1"
    assert header.msh_18.to_er7() == "UNICODE UTF-8"


def test_the_control_id_is_the_same_for_the_same_content_only() -> None:
    report = golden_report()
    other_scan = report.model_copy(update={"scan_id": "scan-0002"})
    texts = [as_text(report), as_text(report), as_text(other_scan), as_text(report, Labels())]
    first, again, other, unlabelled = [parse(text).msh.msh_10.value for text in texts]
    assert first == again
    assert len({first, other, unlabelled}) == 3
    assert len(first) == CONTROL_ID_LENGTH


def test_no_patient_is_named() -> None:
    assert {line[:3] for line in as_text(golden_report()).split("\r")} == {
        "MSH",
        "OBR",
        "NTE",
        "OBX",
        "SPM",
        "",
    }


def test_the_order_is_the_laboratorys_and_the_filler_is_the_scan() -> None:
    group = order(as_text(golden_report()))
    assert group.obr.obr_2.ei_1.value == LABELS.accession
    assert group.obr.obr_3.ei_1.value == golden_report().scan_id
    assert group.oru_r01_specimen.spm.spm_2.to_er7() == LABELS.specimen


def test_without_labels_there_is_no_order_number_and_no_specimen() -> None:
    for labels in (Labels(), Labels(accession=" ", specimen="\t")):
        text = as_text(golden_report(), labels)
        assert text.split("\r")[1].startswith("OBR|1||scan-0001^smearscan|")
        assert "\rSPM|" not in text


def test_the_statement_comes_first_and_every_flag_follows() -> None:
    report = golden_report()
    statement, *flags = notes(order(as_text(report)))
    assert statement == STATEMENT
    assert len(flags) == len(report.quality.flags)
    for note, flag in zip(flags, report.quality.flags, strict=True):
        assert flag.code in note
        assert flag.message in note


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_everything_is_preliminary_or_absent(report: Report) -> None:
    assert order(as_text(report)).obr.obr_25.value == "P"
    for group in rows(report).values():
        assert group.obx.obx_11.value == ("P" if value(group) else "X")


def test_every_class_has_the_reports_numbers() -> None:
    report = REPORTS["mixed"]
    found = rows(report)
    for code, count in report.counts.items():
        if count is not None:
            assert int(value(found[f"{code}.count"])) == count
            assert found[f"{code}.count"].obx.obx_2.value == "NM"
    for code, share in report.differential.items():
        if share is not None:
            row, interval = found[code].obx, found[f"{code}.ci95"]
            assert float(value(found[code])) == share.percent
            assert (row.obx_2.value, row.obx_6.to_er7()) == ("NM", "%^%^UCUM")
            comparator, lower, separator, upper = value(interval).split("^")
            assert (float(lower), float(upper)) == share.ci95
            assert (comparator, separator, interval.obx.obx_2.value) == ("", "-", "SN")
    for code, per_100 in report.per_100_leukocytes.items():
        assert float(value(found[code])) == per_100
        assert found[code].obx.obx_6.ce_1.value == "/100{WBCs}"


def test_each_group_has_the_reports_numbers() -> None:
    report = REPORTS["mixed"]
    found = rows(report)
    for code, group in (("BLAST", report.blast), ("ATYPICAL", report.atypical)):
        assert float(value(found[code])) == group.percent
        assert int(value(found[f"{code}.count"])) == group.count
        assert float(value(found[f"{code}.expected"])) == group.expected_count
        assert float(value(found[f"{code}.threshold"])) == group.threshold
        assert int(value(found[f"{code}.outside"])) == group.outside_denominator
        assert value(found[f"{code}.classes"]).split() == list(group.classes)
        assert value(found[f"{code}.missing"]).split() == list(group.unsupported_classes)


def test_an_unsupported_class_has_no_value_but_a_reason() -> None:
    found = rows(golden_report())
    for code in ("MOB", "MOB.count", "MOB.ci95", "PMB", "PMB.count", "PMB.ci95"):
        row = found[code].obx
        assert (row.obx_2.to_er7(), value(found[code]), row.obx_11.value) == ("", "", "X")
        assert "unknown, not zero" in notes(found[code])[0]


def test_a_count_without_a_supported_class_has_no_value_but_a_reason() -> None:
    found = rows(REPORTS["no blast class"])
    for code in ("BLAST", "BLAST.count", "BLAST.ci95", "BLAST.expected", "BLAST.outside"):
        assert (value(found[code]), found[code].obx.obx_11.value) == ("", "X")
        assert "unknown, not zero" in notes(found[code])[0]


@pytest.mark.parametrize("name", ["no cells", "no leukocytes"])
def test_without_leukocytes_counts_are_numbers_and_percentages_are_absent(name: str) -> None:
    report = REPORTS[name]
    found = rows(report)
    for code in ("NGS", "NGS.ci95", "BLAST", "BLAST.ci95", "EBO", "KSC"):
        assert (value(found[code]), found[code].obx.obx_11.value) == ("", "X")
        assert "No leukocytes" in notes(found[code])[0]
    assert value(found["NGS.count"]) == value(found["BLAST.count"]) == "0"
    assert value(found["EBO.count"]) == str(report.counts[CellClass.EBO])


def test_loinc_is_the_alternate_code() -> None:
    row = rows(golden_report())["MYO"].obx.obx_3
    assert row.to_er7() == (
        "MYO^Myeloblast, percent of leukocytes^99SMS^30445-1^Myeloblasts/100 leukocytes in Blood^LN"
    )


@pytest.mark.parametrize(
    ("name", "code", "loinc"),
    [
        ("every class", "BLAST", "26446-5"),
        ("golden", "BLAST", None),
        ("regrouped", "BLAST-REGROUPED", None),
    ],
)
def test_only_a_whole_blast_count_is_loincs(name: str, code: str, loinc: str | None) -> None:
    identifier = rows(REPORTS[name])[code].obx.obx_3
    assert (identifier.ce_4.to_er7() or None) == loinc


def test_a_regrouped_count_has_another_code_and_says_its_name_and_classes() -> None:
    report = REPORTS["regrouped"]
    found = rows(report)
    assert "BLAST" not in found
    assert unescape(value(found["BLAST-REGROUPED.group"])) == "blasts & <promyelocytes>"
    assert value(found["BLAST-REGROUPED.classes"]) == "MOB MYO PMO"
    assert notes(found["BLAST-REGROUPED"])[0] == (
        "blasts & <promyelocytes>: monoblast (MOB), myeloblast (MYO), promyelocyte (PMO)."
    )


def test_weights_are_named_with_version_and_hash() -> None:
    report = golden_report()
    found = rows(report)
    for code, weights in (("DIFF.classifier", report.model), ("DIFF.detector", report.detector)):
        assert value(found[code]) == f"{weights.name} {weights.version} sha256:{weights.sha256}"


def test_codes_are_unique_and_rows_are_numbered() -> None:
    groups = order(as_text(golden_report())).oru_r01_observation
    codes = [group.obx.obx_3.ce_1.value for group in groups]
    assert len(set(codes)) == len(codes)
    assert set(CODES) <= set(codes)
    assert [group.obx.obx_1.value for group in groups] == [str(i + 1) for i in range(len(codes))]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("A|B^C&D~E\\F", r"A\F\B\S\C\T\D\R\E\E\F"),
        ("one\r\ntwo", r"one\X0D\\X0A\two"),
        (r"\F\ is no bar", r"\E\F\E\ is no bar"),
        ("\x0bframe\x1c", "\\X0B\\frame\\X1C\\"),
        ("µ, é, 血", "µ, é, 血"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_delimiters_and_control_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape_text(text) == escaped


@settings(deadline=None)
@given(TEXTS.filter(str.strip))
def test_any_accession_comes_back_as_it_was(text: str) -> None:
    order_segment = segment(as_text(golden_report(), Labels(accession=text)), "OBR")
    (number,) = order_segment.obr_2
    (component,) = number.children
    assert unescape(raw(component)) == text


@settings(deadline=None)
@given(TEXTS.filter(str.strip))
def test_any_specimen_comes_back_as_it_was(text: str) -> None:
    specimen = segment(as_text(golden_report(), Labels(specimen=text)), "SPM")
    (number,) = specimen.spm_2
    (component,) = number.children
    assert unescape(raw(component)) == text


@settings(deadline=None)
@given(st.text(min_size=1, max_size=80) | st.text(alphabet=SPECIAL, min_size=1, max_size=80))
def test_any_name_of_a_group_comes_back_as_it_was(name: str) -> None:
    text = as_text(regrouped_report(name))
    (line,) = (line for line in text.split("\r") if "|BLAST-REGROUPED.group^" in line)
    assert unescape(line.split("|")[5]) == name


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_no_text_breaks_a_line_or_a_frame(accession: str, specimen: str) -> None:
    text = as_text(golden_report(), Labels(accession=accession, specimen=specimen))
    lines = text.removesuffix("\r").split("\r")
    assert text.encode().splitlines() == [line.encode() for line in lines]
    assert not re.search(r"[\x00-\x0c\x0e-\x1f\x7f]", text)
    expected = as_text(golden_report()).count("\r") - (not specimen.strip())
    assert len(lines) == expected
