"""The one table of formats in which a report leaves the service, and who gets which.

A format is stored (a file written with the results) or rendered from report.json when asked for:
FHIR and HL7 v2 are small, and hold what the laboratory calls the order, which no result file does.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TextIO

from service.contract.report import Report
from service.exports.fhir import write_fhir
from service.exports.hl7 import write_hl7
from service.exports.labels import Labels

Render = Callable[[Report, Labels, TextIO], None]
"""Writes a report as text; the stream is UTF-8, opened with `newline=""`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One format; exactly one of `file` and `render` is set.

    Attributes:
        suffix: at the end of a URL or a file's name, without its first dot.
        media_type: lower case, without parameters.
        parameters: of the media type, as pairs of name and value.
        file: name of the stored result file; None when the format is rendered.
        render: writes the format from the report; None when it is stored.
    """

    suffix: str
    media_type: str
    parameters: tuple[tuple[str, str], ...] = ()
    file: str | None = None
    render: Render | None = None

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header."""
        return "; ".join((self.media_type, *(f"{k}={v}" for k, v in self.parameters)))


_UTF_8: Final = (("charset", "utf-8"),)
_FORMATS: Final = (
    ExportFormat(suffix="json", media_type="application/json", file="report.json"),
    ExportFormat(suffix="html", media_type="text/html", parameters=_UTF_8, file="report.html"),
    ExportFormat(suffix="csv", media_type="text/csv", parameters=_UTF_8, file="cells.csv"),
    ExportFormat(suffix="geojson", media_type="application/geo+json", file="cells.geojson"),
    ExportFormat(
        suffix="parquet", media_type="application/vnd.apache.parquet", file="cells.parquet"
    ),
    ExportFormat(
        suffix="fhir.json",
        media_type="application/fhir+json",
        parameters=(("fhirVersion", "4.0"),),
        render=write_fhir,
    ),
    ExportFormat(
        suffix="hl7", media_type="application/hl7-v2", parameters=_UTF_8, render=write_hl7
    ),
)

FORMATS: Final[Mapping[str, ExportFormat]] = MappingProxyType({f.suffix: f for f in _FORMATS})
"""By suffix, the one that is given to who does not care first."""

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_ELEMENT: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
"""Up to the next comma outside quotes; an open quote reaches to the end. Takes linear time."""
_RANGE: Final = re.compile(rf"\s*({_WORD})/({_WORD})\s*")
_PARAMETER: Final = re.compile(rf";\s*(?:({_WORD})=({_WORD}|{_QUOTED}))?\s*")
_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class _MediaRange:
    """One element of an Accept header, in lower case."""

    type: str
    subtype: str
    parameters: dict[str, str]
    quality: float

    @property
    def precision(self) -> tuple[bool, bool, int]:
        """Greater for a range that says more (RFC 9110, 12.5.1)."""
        return self.type != "*", self.subtype != "*", len(self.parameters)

    def includes(self, export: ExportFormat) -> bool:
        type_, _, subtype = export.media_type.partition("/")
        parameters = {name.lower(): value for name, value in export.parameters}
        return (
            self.type in {"*", type_}
            and self.subtype in {"*", subtype}
            and self.parameters.items() <= parameters.items()
        )


def find_format(accept: str) -> ExportFormat | None:
    """What to send for an Accept header (RFC 9110, 12.5.1); None: nothing it accepts (406).

    A format has the quality of the most precise range that includes it; 0 refuses it. Among equals
    wins what was asked for more precisely, then earlier, then what stands first in FORMATS. An
    empty header accepts everything. An element that breaks the grammar is skipped, so a header of
    nothing else accepts nothing; a parameter that the format has not, excludes it (`level=1`).
    """
    ranges = list(_parse_accept(accept)) if accept.strip(" \t,") else [_ANYTHING]
    best: ExportFormat | None = None
    best_rank: tuple[float, tuple[bool, bool, int], int] | None = None
    for export in FORMATS.values():
        including = [(r.precision, -i, r) for i, r in enumerate(ranges) if r.includes(export)]
        if not including:
            continue
        precision, position, media_range = max(including, key=lambda item: item[:2])
        rank = (media_range.quality, precision, position)
        if media_range.quality > 0 and (best_rank is None or rank > best_rank):
            best, best_rank = export, rank
    return best


def _parse_accept(accept: str) -> Iterator[_MediaRange]:
    for element in _ELEMENT.findall(accept):
        if (media_range := _parse_range(element)) is not None:
            yield media_range


def _parse_range(element: str) -> _MediaRange | None:
    head = _RANGE.match(element)
    if head is None:
        return None
    type_, subtype = (part.lower() for part in head.groups())
    if type_ == "*" and subtype != "*":
        return None
    parameters: dict[str, str] = {}
    quality = 1.0
    at = head.end()
    while at < len(element):
        parameter = _PARAMETER.match(element, at)
        if parameter is None:
            return None
        at = parameter.end()
        name, value = parameter.groups()
        if name is None:
            continue
        if name.lower() == "q":
            if _QUALITY.fullmatch(value) is None:
                return None
            quality = float(value)
            break  # what follows were extensions, which RFC 9110 took back
        parameters[name.lower()] = re.sub(r"\\(.)", r"\1", value.strip('"')).lower()
    return _MediaRange(type_, subtype, parameters, quality)


_ANYTHING: Final = _MediaRange("*", "*", {}, 1.0)
