import math

import pytest

from service.contract.failure import FailureCode, SlideError
from worker.slide.geometry import Size
from worker.slide.resolution import (
    StatedResolution,
    settle_resolution,
    state_aperio_resolution,
    state_ome_resolution,
    state_tiff_resolution,
)


def stated(x: float, y: float | None = None) -> StatedResolution:
    return StatedResolution(x, x if y is None else y, "tiff:XResolution")


def refuse(
    metadata: StatedResolution | None, request: float | None = None, limit: float | None = None
) -> FailureCode:
    with pytest.raises(SlideError) as caught:
        settle_resolution(metadata, request, limit)
    return caught.value.code


def test_metadata_are_used_and_named() -> None:
    assert settle_resolution(stated(0.25), None, None) == (0.25, "tiff:XResolution")


def test_a_request_overrides_metadata() -> None:
    assert settle_resolution(stated(0.25), 0.1, None) == (0.1, "request")


def test_a_request_overrides_implausible_metadata() -> None:
    assert settle_resolution(stated(84.7), 0.1, None) == (0.1, "request")


def test_neither_request_nor_metadata_is_missing() -> None:
    assert refuse(None) == FailureCode.RESOLUTION_MISSING


@pytest.mark.parametrize("um", [math.nan, math.inf, 0.0, -0.25, 0.0199, 10.01])
def test_an_implausible_request_is_refused(um: float) -> None:
    assert refuse(stated(0.25), um) == FailureCode.RESOLUTION_UNSUPPORTED


@pytest.mark.parametrize("um", [0.02, 10.0])
def test_a_request_at_the_edge_of_the_plausible_is_taken(um: float) -> None:
    assert settle_resolution(None, um, None) == (um, "request")


@pytest.mark.parametrize("um", [math.nan, math.inf, 0.0, -1.0, 0.0199, 10.01])
def test_implausible_metadata_count_as_missing(um: float) -> None:
    assert refuse(stated(um)) == FailureCode.RESOLUTION_MISSING


def test_pixels_two_percent_off_square_are_averaged() -> None:
    um, _ = settle_resolution(stated(0.198, 0.2019), None, None)
    assert um == pytest.approx(0.19995)


def test_pixels_more_than_two_percent_off_square_are_refused() -> None:
    assert refuse(stated(0.198, 0.2021)) == FailureCode.RESOLUTION_UNSUPPORTED


def test_a_scan_as_coarse_as_the_limit_is_taken() -> None:
    assert settle_resolution(stated(0.25), None, 0.25)[0] == 0.25


def test_a_scan_coarser_than_the_limit_is_refused() -> None:
    assert refuse(stated(0.2501), None, 0.25) == FailureCode.RESOLUTION_UNSUPPORTED


def test_the_limit_holds_for_a_request_too() -> None:
    assert refuse(None, 0.5, 0.25) == FailureCode.RESOLUTION_UNSUPPORTED


def test_px_per_centimetre_become_micrometres() -> None:
    found = state_tiff_resolution(50_000, 50_000, 3)
    assert found is not None and found.x_um == pytest.approx(0.2)


def test_px_per_inch_become_micrometres() -> None:
    found = state_tiff_resolution(127_000, 127_000, 2)
    assert found is not None and found.x_um == pytest.approx(0.2)


@pytest.mark.parametrize("dpi", [72, 96])
def test_default_dpi_say_nothing(dpi: float) -> None:
    assert state_tiff_resolution(dpi, dpi, 2) is None


@pytest.mark.parametrize("dpi", [72, 96])
def test_default_dpi_converted_to_centimetres_say_nothing(dpi: float) -> None:
    assert state_tiff_resolution(dpi / 2.54, dpi / 2.54, 3) is None


def test_a_resolution_without_a_unit_says_nothing() -> None:
    assert state_tiff_resolution(50_000, 50_000, 1) is None


def test_a_resolution_of_zero_says_nothing() -> None:
    assert state_tiff_resolution(0, 50_000, 3) is None


def test_the_aperio_description_is_read() -> None:
    text = "Aperio Image Library v12\n1000x1000 (256x256) JPEG|AppMag = 40|MPP = 0.2520|Left = 1"
    assert state_aperio_resolution(text) == StatedResolution(0.252, 0.252, "aperio.MPP")


def test_an_objective_power_alone_says_nothing() -> None:
    assert state_aperio_resolution("Aperio Image Library|AppMag = 40") is None


def test_an_aperio_mpp_that_is_no_number_is_refused_not_guessed() -> None:
    assert refuse(state_aperio_resolution("Aperio|MPP = 1e-e")) == FailureCode.RESOLUTION_MISSING


def ome(size_x: int, x: str, unit: str) -> str:
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels'
        f' SizeX="{size_x}" SizeY="500" PhysicalSizeX="{x}" PhysicalSizeY="{x}"'
        f' PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"/></Image></OME>'
    )


@pytest.mark.parametrize(("x", "unit"), [("0.2", "µm"), ("200", "nm"), ("0.0002", "mm")])
def test_ome_physical_size_is_read_in_its_unit(x: str, unit: str) -> None:
    found = state_ome_resolution(ome(600, x, unit), Size(600, 500))
    assert found is not None and found.x_um == pytest.approx(0.2)


def test_ome_physical_size_in_pixels_says_nothing() -> None:
    assert state_ome_resolution(ome(600, "1", "pixel"), Size(600, 500)) is None


def test_the_physical_size_of_another_ome_image_is_not_used() -> None:
    assert state_ome_resolution(ome(300, "0.2", "µm"), Size(600, 500)) is None


@pytest.mark.parametrize("xml", ["", "<OME", "not xml </OME>"])
def test_broken_ome_xml_says_nothing(xml: str) -> None:
    assert state_ome_resolution(xml, Size(600, 500)) is None
