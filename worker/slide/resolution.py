"""How many micrometres a level-0 pixel is, and who says so. Never guessed.

A request overrides the metadata. Objective power is not a resolution: scanners of one power differ
by more than a factor of two in µm/px.
"""

import math
import re
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from service.contract.failure import FailureCode, SlideError
from worker.slide.geometry import Size

MIN_UM_PER_PX: Final = 0.02
MAX_UM_PER_PX: Final = 10.0
MAX_ANISOTROPY: Final = 0.02
"""Largest |x - y| relative to their mean at which pixels still count as square."""

_DPI_DEFAULTS: Final = frozenset({72.0, 96.0})
_UM_PER_INCH: Final = 25_400.0
_UM_PER_TIFF_UNIT: Final = {2: _UM_PER_INCH, 3: 10_000.0}  # TIFF 6.0, ResolutionUnit: inch, cm
_UM_PER_OME_UNIT: Final = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
_APERIO_MPP: Final = re.compile(r"\|\s*MPP\s*=\s*([0-9.eE+-]+)")
_REMEDY: Final = "send um_per_px with the request"


@dataclass(frozen=True, slots=True)
class StatedResolution:
    """What metadata say, unchecked: µm per level-0 px along x and y, and the field it is from."""

    x_um: float
    y_um: float
    source: str


def settle_resolution(
    stated: StatedResolution | None,
    requested_um_per_px: float | None,
    max_um_per_px: float | None,
) -> tuple[float, str]:
    """The µm per level-0 px to work with, and where it comes from ("request" or a field's name).

    Raises:
        SlideError: resolution_missing if there is neither a request nor a usable statement;
            resolution_unsupported if the request is implausible, the pixels are not square, or
            the scan is coarser than `max_um_per_px`.
    """
    if requested_um_per_px is not None:
        if not _is_plausible(requested_um_per_px):
            raise SlideError(
                FailureCode.RESOLUTION_UNSUPPORTED,
                f"um_per_px = {requested_um_per_px:g} was requested; plausible are"
                f" {MIN_UM_PER_PX:g} to {MAX_UM_PER_PX:g} µm/px: correct the request",
            )
        um_per_px, source = requested_um_per_px, "request"
    else:
        um_per_px, source = _check_stated(stated)
    if max_um_per_px is not None and um_per_px > max_um_per_px:
        raise SlideError(
            FailureCode.RESOLUTION_UNSUPPORTED,
            f"the scan has {um_per_px:.4g} µm/px ({source}), the classifier needs"
            f" {max_um_per_px:.4g} µm/px or finer to see a nucleus: scan again at a higher"
            " resolution",
        )
    return um_per_px, source


def state_tiff_resolution(
    x_per_unit: float, y_per_unit: float, unit: int
) -> StatedResolution | None:
    """What TIFF's XResolution, YResolution (px per unit) and ResolutionUnit say, if anything.

    Values without a physical unit, and the 72 and 96 dpi that many writers put there unasked,
    say nothing.
    """
    um_per_unit = _UM_PER_TIFF_UNIT.get(unit)
    if um_per_unit is None or x_per_unit <= 0 or y_per_unit <= 0:
        return None
    if all(
        round(per_unit * _UM_PER_INCH / um_per_unit, 1) in _DPI_DEFAULTS
        for per_unit in (x_per_unit, y_per_unit)
    ):
        return None
    return StatedResolution(um_per_unit / x_per_unit, um_per_unit / y_per_unit, "tiff:XResolution")


def state_aperio_resolution(description: str) -> StatedResolution | None:
    """What the `MPP = …` field of an Aperio ImageDescription says, if it is there."""
    match = _APERIO_MPP.search(description)
    if match is None:
        return None
    um = _parse_float(match.group(1))
    return StatedResolution(um, um, "aperio.MPP")


def state_ome_resolution(ome_xml: str, size: Size) -> StatedResolution | None:
    """PhysicalSizeX and Y of the OME image that has `size`, if given in a unit of length."""
    try:
        root = ET.fromstring(ome_xml)  # noqa: S314 - expat bounds entity expansion itself
    except (ET.ParseError, ValueError):
        return None
    for pixels in root.iter():
        if not pixels.tag.endswith("}Pixels") and pixels.tag != "Pixels":
            continue
        if (pixels.get("SizeX"), pixels.get("SizeY")) != (str(size.width), str(size.height)):
            continue
        x = _parse_ome_length(pixels, "PhysicalSizeX")
        y = _parse_ome_length(pixels, "PhysicalSizeY")
        if x is not None and y is not None:
            return StatedResolution(x, y, "ome:PhysicalSizeX")
    return None


def _check_stated(stated: StatedResolution | None) -> tuple[float, str]:
    if stated is None:
        raise SlideError(
            FailureCode.RESOLUTION_MISSING,
            f"the slide's metadata do not say how many µm a pixel is; {_REMEDY}",
        )
    x_um, y_um, source = stated.x_um, stated.y_um, stated.source
    if not (_is_plausible(x_um) and _is_plausible(y_um)):
        raise SlideError(
            FailureCode.RESOLUTION_MISSING,
            f"the slide's metadata say {x_um:.4g} × {y_um:.4g} µm/px ({source}); plausible are"
            f" {MIN_UM_PER_PX:g} to {MAX_UM_PER_PX:g}, so they say nothing; {_REMEDY}",
        )
    mean = (x_um + y_um) / 2
    if abs(x_um - y_um) > MAX_ANISOTROPY * mean:
        raise SlideError(
            FailureCode.RESOLUTION_UNSUPPORTED,
            f"pixels are {x_um:.4g} µm wide and {y_um:.4g} µm high ({source}); they may differ by"
            f" {MAX_ANISOTROPY:.0%}: export the scan with square pixels, or {_REMEDY} if the"
            " metadata are wrong",
        )
    return mean, source


def _is_plausible(um_per_px: float) -> bool:
    return MIN_UM_PER_PX <= um_per_px <= MAX_UM_PER_PX


def _parse_ome_length(pixels: ET.Element, name: str) -> float | None:
    value = pixels.get(name)
    um_per_unit = _UM_PER_OME_UNIT.get(pixels.get(f"{name}Unit", "µm"))
    return None if value is None or um_per_unit is None else _parse_float(value) * um_per_unit


def _parse_float(text: str) -> float:
    """The number in `text`, NaN if there is none: NaN is implausible and refused as such."""
    try:
        return float(text)
    except ValueError:
        return math.nan
