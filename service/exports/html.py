"""The report a haematologist reads: one HTML file that asks the network for nothing.

Images are inline, and a content security policy forbids every request. The slide's file name,
paths, label and macro image are not in it. Its size is bounded by the galleries, not by the number
of cells.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from jinja2 import Environment, PackageLoader, StrictUndefined

from models.taxonomy import NAMES, CellClass
from service.contract.cell import DoubtfulObject
from service.contract.report import GroupCount, Proportion, Report
from service.exports.gallery import Gallery
from service.exports.palette import MARKER_COLOURS, Marker, choose_marker

READING_ORDER: Final = (
    CellClass.NGS,
    CellClass.NGB,
    CellClass.EOS,
    CellClass.BAS,
    CellClass.MON,
    CellClass.LYT,
    CellClass.LYA,
    CellClass.MMZ,
    CellClass.MYB,
    CellClass.PMO,
    CellClass.PMB,
    CellClass.MYO,
    CellClass.MOB,
)
"""The differential as it is usually read: mature cells first, then back to the blast. Files for
machines keep the taxonomy's order."""

SIGNS: Final = {Marker.BLAST: "▲", Marker.ATYPICAL: "◆", Marker.OTHER: "●"}
SCALES: Final = (5, 10, 20, 30, 40, 60, 80, 100)
"""Where a bar's axis may end, %."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A percentage and its interval on an axis from 0 to `scale` %, as 0–100 of its length."""

    value: float
    lower: float
    upper: float


def write_html(
    report: Report,
    galleries: Sequence[Gallery],
    thumbnails: Mapping[int, bytes],
    overview_jpeg: bytes | None,
    stream: TextIO,
    *,
    doubtful: Sequence[tuple[DoubtfulObject, bytes | None]] = (),
) -> None:
    """Write the report as it is rendered.

    Args:
        report: what was found.
        galleries: cells to show.
        thumbnails: JPEG of a cell's patch, by cell id; a cell without one is shown as such.
        overview_jpeg: the slide at a glance; None when there is none.
        stream: text, UTF-8.
        doubtful: objects to show that are not counted, each with the JPEG of its patch.
    """
    page = _ENVIRONMENT.get_template("report.html.j2").generate(
        report=report,
        groups=(("blast", report.blast), ("atypical", report.atypical)),
        scale=choose_scale(report.differential.values()),
        rows=[(code, report.counts[code], report.differential[code]) for code in READING_ORDER],
        galleries=galleries,
        thumbnails=thumbnails,
        doubtful=doubtful,
        overview_jpeg=overview_jpeg,
        marker=lambda cell: choose_marker(report, cell),
    )
    for piece in page:
        stream.write(piece)


def choose_scale(shares: Iterable[Proportion | GroupCount | None]) -> int:
    """Where an axis ends that shows all these intervals, %."""
    highest = max((share.ci95[1] for share in shares if share and share.ci95), default=0)
    return next(end for end in SCALES if end >= highest)


def place_bar(share: Proportion | GroupCount | None, scale: int) -> Bar | None:
    """A percentage on an axis that ends at `scale` %; None where there is none."""
    if share is None or share.percent is None or share.ci95 is None:
        return None
    value, lower, upper = (
        round(100 * percent / scale, 2) for percent in (share.percent, *share.ci95)
    )
    return Bar(value, lower, upper)


def format_percent(percent: float) -> str:
    """One decimal; more where one would show a number above zero as zero."""
    decimals = 1 if percent == 0 or percent >= 0.05 else 2 if percent >= 0.005 else 4
    return f"{percent:.{decimals}f}\N{NO-BREAK SPACE}%"


def format_interval(interval: tuple[float, float]) -> str:
    """Lower to upper end, %."""
    lower, upper = (format_percent(end).removesuffix("\N{NO-BREAK SPACE}%") for end in interval)
    return f"{lower}–{upper}\N{NO-BREAK SPACE}%"


def _inline_jpeg(image: bytes) -> str:
    return f"data:image/jpeg;base64,{b64encode(image).decode()}"


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _css_colour(marker: Marker) -> str:
    return "#{:02x}{:02x}{:02x}".format(*MARKER_COLOURS[marker])


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("service.exports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "percent": format_percent,
    "interval": format_interval,
    "jpeg": _inline_jpeg,
    "capitalised": _capitalise,
    "css_colour": _css_colour,
}
_ENVIRONMENT.globals |= {
    "NAMES": NAMES,
    "SIGNS": SIGNS,
    "Marker": Marker,
    "choose_scale": choose_scale,
    "place_bar": place_bar,
}
