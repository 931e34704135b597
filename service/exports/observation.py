"""A report as the observations that laboratory systems file, before any format.

FHIR calls one an Observation with components; in HL7 v2 it is a run of OBX segments. Both writers
take theirs from here, so they cannot differ in a number, a code or a unit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from models.taxonomy import CODES, NAMES, NOT_IN_DIFFERENTIAL, CellClass
from service.contract.quality import Severity
from service.contract.report import AdjustedShare, GroupCount, Report
from service.exports.coding import (
    CELLS,
    MM2,
    OBJECTS,
    PANEL,
    PER_100_LEUKOCYTES,
    PERCENT,
    PROBABILITY,
    TILES,
    Code,
    Unit,
    code_atypical,
    code_blasts,
    code_class,
)


class Absence(StrEnum):
    """Why there is no value. Never a reason to send zero."""

    UNSUPPORTED = "unsupported"
    NO_LEUKOCYTES = "no leukocytes"
    ERRORS_HIDE_ALL = "errors hide all"


ABSENCES: Final = {
    Absence.UNSUPPORTED: "Not supported: the model cannot recognise these cells; how many there "
    "are is unknown, not zero.",
    Absence.NO_LEUKOCYTES: "No leukocytes were found: there is nothing to take a percentage of.",
    Absence.ERRORS_HIDE_ALL: "None: for this number of leukocytes the model's errors hide any "
    "percentage.",
}
"""The reasons in words."""

DOUBTFUL: Final = "Objects that may be leukocytes, not counted"

CHANCE_ALONE: Final = "The 95 % interval of the percentage is of chance alone"
NOT_FROM_NONE: Final = "With the model's errors this count cannot be told from none."

Value = float | str | tuple[float, float]
"""A number, a text, or the lower and upper end of an interval."""


@dataclass(frozen=True, slots=True)
class Component:
    """One value of an observation.

    Attributes:
        code: ours, unique within the observation.
        name: in words.
        value: None exactly when `absence` says why.
        unit: of a number or interval; None for text.
        absence: why there is no value.
    """

    code: str
    name: str
    value: Value | None
    unit: Unit | None = None
    absence: Absence | None = None

    def __post_init__(self) -> None:
        assert (self.value is None) == (self.absence is not None)


@dataclass(frozen=True, slots=True)
class Observation:
    """A result with what belongs to it.

    Attributes:
        code: what was observed.
        main: the result itself; its code is the observation's.
        components: count, interval and the like.
        notes: sentences that must be read with it.
    """

    code: Code
    main: Component
    components: tuple[Component, ...] = ()
    notes: tuple[str, ...] = ()


def list_observations(report: Report) -> tuple[Observation, ...]:
    """All of a report: the panel, blasts, atypical cells, then every class in taxonomy order."""
    return (
        _observe_panel(report),
        _observe_group(code_blasts(report.blast), report.blast),
        _observe_group(code_atypical(report.atypical), report.atypical),
        *(_observe_class(report, cell_class) for cell_class in CODES),
    )


def list_flags(report: Report) -> tuple[str, ...]:
    """Quality flags as sentences, warnings first."""
    return tuple(
        f"{flag.severity.capitalize()} ({flag.code}): {flag.message}"
        for flag in report.quality.flags
    )


def list_warnings(report: Report) -> tuple[str, ...]:
    """The flags among them that say a number may mislead."""
    warnings = (flag for flag in report.quality.flags if flag.severity is Severity.WARNING)
    return tuple(flag.message for flag in warnings)


def summarise(report: Report) -> tuple[str, ...]:
    """The statement, the blasts with the classes they are, and what the model's errors leave."""
    blast = report.blast
    count = "an unknown number" if blast.count is None else str(blast.count)
    share = ""
    if blast.percent is not None and blast.ci95 is not None:
        share = f", {_say_share(blast.percent, blast.ci95)}"
    group = f"{blast.name} ({' '.join(blast.classes)})"
    counted = f"{group}: {count} of {report.n_leukocytes} leukocytes{share}."
    return (report.statement, counted, *_say_corrected(blast))


def format_number(value: float) -> str:
    """Without an exponent, and with no digit that the report does not have."""
    return format(Decimal(repr(value)), "f")


def name_classes(classes: Iterable[CellClass]) -> str:
    """Classes in words with their codes."""
    return ", ".join(f"{NAMES[cell_class]} ({cell_class})" for cell_class in classes)


def _observe_panel(report: Report) -> Observation:
    region = report.region
    doubtful = region.doubtful_objects
    known = () if doubtful is None else (Component("doubtful", DOUBTFUL, doubtful, OBJECTS),)
    return Observation(
        PANEL,
        Component(PANEL.code, "Leukocytes counted", report.n_leukocytes, CELLS),
        (
            Component("cells", "Cells found, of every class", report.n_cells, CELLS),
            *known,
            Component("area", "Area chosen for counting", region.area_mm2, MM2),
            Component(
                "coverage", "Part of that area read", round(100 * region.coverage, 4), PERCENT
            ),
            Component("tiles", "Tiles of that area", region.tiles, TILES),
            Component("tiles-failed", "Tiles that could not be read", region.tiles_failed, TILES),
            Component("cells-unread", "Cells found but not readable", region.cells_unread, CELLS),
            Component("slide-sha256", "SHA-256 of the slide file", report.slide.sha256),
        ),
    )


def _observe_class(report: Report, cell_class: CellClass) -> Observation:
    code = code_class(cell_class)
    count = report.counts[cell_class]
    counted = _component("count", "Cells with this label", count, CELLS, Absence.UNSUPPORTED)
    absence = Absence.UNSUPPORTED if count is None else Absence.NO_LEUKOCYTES
    if cell_class in NOT_IN_DIFFERENTIAL:
        per_100 = report.per_100_leukocytes[cell_class]
        main = _component(code.code, code.name, per_100, PER_100_LEUKOCYTES, absence)
        return Observation(code, main, (counted,))
    share = report.differential[cell_class]
    percent, ci95 = (None, None) if share is None else (share.percent, share.ci95)
    return Observation(
        code,
        _component(code.code, code.name, percent, PERCENT, absence),
        (counted, _interval(ci95, absence)),
    )


def _observe_group(code: Code, group: GroupCount) -> Observation:
    absence = Absence.UNSUPPORTED if group.count is None else Absence.NO_LEUKOCYTES
    never = Absence.UNSUPPORTED
    components = [
        _component("count", "Leukocytes at or above the threshold", group.count, CELLS, never),
        _interval(group.ci95, absence),
        *_list_corrected(group),
        _component("expected", "Sum of probabilities", group.expected_count, CELLS, never),
        Component("threshold", "Probability that counts", group.threshold, PROBABILITY),
        _component(
            "outside",
            "Further cells at or above the threshold that are no leukocytes",
            group.outside_denominator,
            CELLS,
            never,
        ),
        Component("group", "Name of the group", group.name),
        Component("classes", "Classes of the group", " ".join(group.classes)),
    ]
    notes = [f"{group.name}: {name_classes(group.classes)}.", *_note_errors(group)]
    if group.unsupported_classes:
        missing = " ".join(group.unsupported_classes)
        components.append(Component("missing", "Classes the model cannot recognise", missing))
        notes.append(
            "The model cannot recognise, and this number does not include: "
            f"{name_classes(group.unsupported_classes)}."
        )
    return Observation(
        code,
        _component(code.code, code.name, group.percent, PERCENT, absence),
        tuple(components),
        tuple(notes),
    )


def _list_corrected(group: GroupCount) -> tuple[Component, ...]:
    """What the model's errors make of the percentage; nothing where they are not known."""
    adjusted = group.adjusted
    if adjusted is None:
        return ()
    return (
        Component(
            "adjusted", "Percentage corrected for the model's errors", adjusted.percent, PERCENT
        ),
        Component(
            "adjusted-ci95", "95 % interval of the corrected percentage", adjusted.ci95, PERCENT
        ),
        Component(
            "limit-of-blank",
            "Leukocytes that may be counted by mistake where all are mature",
            adjusted.limit_of_blank,
            CELLS,
        ),
        _component(
            "limit-of-detection",
            "Least percentage told from none",
            adjusted.limit_of_detection,
            PERCENT,
            Absence.ERRORS_HIDE_ALL,
        ),
    )


def _note_errors(group: GroupCount) -> tuple[str, ...]:
    """What the percentage's interval does not hold."""
    if group.percent is None:
        return ()
    if group.adjusted is None:
        return (f"{CHANCE_ALONE}: how often the model errs in this group is not known.",)
    within = f"{CHANCE_ALONE}: that of the corrected percentage holds the model's errors too."
    return (within, *_doubt_any(group.adjusted))


def _say_corrected(group: GroupCount) -> tuple[str, ...]:
    """The corrected percentage in sentences; nothing where the errors are not known."""
    if group.adjusted is None:
        return ()
    share = _say_share(group.adjusted.percent, group.adjusted.ci95)
    return (f"Corrected for the model's errors: {share}.", *_doubt_any(group.adjusted))


def _doubt_any(adjusted: AdjustedShare) -> tuple[str, ...]:
    """Whether there may be none of the group, said where it may."""
    return (NOT_FROM_NONE,) if adjusted.ci95[0] == 0 else ()


def _say_share(percent: float, ci95: tuple[float, float]) -> str:
    lower, upper = map(format_number, ci95)
    return f"{format_number(percent)} % (95 % interval {lower}–{upper} %)"


def _interval(ci95: tuple[float, float] | None, absence: Absence) -> Component:
    return _component("ci95", "95 % interval", ci95, PERCENT, absence)


def _component(
    code: str, name: str, value: Value | None, unit: Unit, if_none: Absence
) -> Component:
    return Component(code, name, value, unit, if_none if value is None else None)
