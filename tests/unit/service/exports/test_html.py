import io
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest

from models.taxonomy import CODES, NAMES, CellClass
from service.contract.cell import DoubtfulObject
from service.contract.report import STATEMENT, Report, Versions
from service.contract.scan import CellGroup, ScanParameters
from service.exports.gallery import Gallery, choose_gallery
from service.exports.html import (
    READING_ORDER,
    choose_scale,
    format_interval,
    format_percent,
    place_bar,
    write_html,
)
from tests.analyses import (
    cells_of,
    cells_with,
    random_cells,
    report_of,
)

REPORT, CELLS = report_of(random_cells(300))
JPEG = b"\xff\xd8\xff\xe0 not really"
HOSTILE = "<script>alert('x')</script>\"onload=\"x"


def render(
    report: Report = REPORT,
    galleries: Sequence[Gallery] = (),
    thumbnails: Mapping[int, bytes] | None = None,
    overview: bytes | None = None,
    doubtful: Sequence[tuple[DoubtfulObject, bytes | None]] = (),
) -> str:
    stream = io.StringIO()
    write_html(report, galleries, thumbnails or {}, overview, stream, doubtful=doubtful)
    return stream.getvalue()


class Page(HTMLParser):
    """Words and references of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.images_without_text = 0
        self._words: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self._words).replace("\N{NO-BREAK SPACE}", " ").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.references += [values[key] or "" for key in ("src", "href", "data") if key in values]
        self.images_without_text += tag == "img" and not values.get("alt")

    def handle_data(self, data: str) -> None:
        self._words.append(data)


def full_page() -> Page:
    galleries = choose_gallery(CELLS)
    shown = {cell.id: JPEG for gallery in galleries for cell in gallery.cells}
    return Page(render(REPORT, galleries, shown, JPEG))


def test_the_corrected_share_and_what_can_be_told_from_none_stand_beside_the_raw_one() -> None:
    report, _ = report_of(cells_with({CellClass.NGS: 140, CellClass.MYO: 60}))
    text = Page(render(report)).text
    adjusted = report.blast.adjusted
    assert adjusted is not None
    assert adjusted.limit_of_detection is not None
    assert (
        f"Corrected for misnaming {format_percent(adjusted.percent)}".replace("\xa0", " ") in text
    )
    assert f"95 % interval {format_interval(adjusted.ci95)}".replace("\xa0", " ") in text
    assert (
        f"Smallest share told from none {format_percent(adjusted.limit_of_detection)}".replace(
            "\xa0", " "
        )
        in text
    )
    assert f"up to {adjusted.limit_of_blank} leukocytes may be counted by mistake" in text


def test_errors_that_hide_any_share_are_said() -> None:
    report, _ = report_of(cells_with({CellClass.NGS: 4}))
    assert report.blast.adjusted is not None
    assert report.blast.adjusted.limit_of_detection is None
    assert "the model's errors hide any share" in Page(render(report)).text


def test_research_use_is_stated_first_and_last() -> None:
    text = full_page().text
    body = text[text.index(STATEMENT) :]
    assert body.startswith(STATEMENT)
    assert body.endswith(STATEMENT)


def test_blasts_come_before_everything_else_with_count_percent_interval_and_expectation() -> None:
    text = full_page().text
    blast = REPORT.blast
    assert blast.percent is not None
    assert blast.ci95 is not None
    head = text[text.index("▲ Blasts") : text.index("Differential")]
    for words in (
        f"{blast.percent:.1f} %",
        f"95 % interval {blast.ci95[0]:.1f}–{blast.ci95[1]:.1f} %",
        f"{blast.count} of {REPORT.n_leukocytes} leukocytes",
        f"Expected count {blast.expected_count:.1f}",
    ):
        assert words in head


def test_every_quality_flag_is_said_in_words_before_the_differential() -> None:
    text = full_page().text
    for flag in REPORT.quality.flags:
        message = flag.message.replace("\N{NO-BREAK SPACE}", " ")
        assert 0 < text.index(message) < text.index("Differential")


def test_the_page_asks_the_network_for_nothing() -> None:
    page = full_page()
    assert {reference.split(",")[0] for reference in page.references} == {"data:image/jpeg;base64"}
    html = render(REPORT, choose_gallery(CELLS), {}, JPEG)
    assert not re.search(r"https?://|url\(|@import|<(script|link|iframe|object)", html)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html


def test_every_image_has_a_text() -> None:
    assert full_page().images_without_text == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"slide": {"format": HOSTILE, "reader": HOSTILE, "um_per_px_source": HOSTILE}},
        {"model": {"name": HOSTILE, "version": HOSTILE, "network": HOSTILE}},
        {"detector": {"name": HOSTILE, "version": HOSTILE}},
        {"blast": {"name": HOSTILE}},
        {"versions": {"python": HOSTILE, "libraries": {HOSTILE: HOSTILE}}},
    ],
)
def test_hostile_text_is_shown_not_run(changes: dict[str, dict[str, Any]]) -> None:
    ((part, values),) = changes.items()
    hostile = getattr(REPORT, part).model_copy(update=values)
    page = Page(render(REPORT.model_copy(update={part: hostile}), overview=JPEG))
    assert "script" not in page.tags
    assert "alert('x')" in page.text


def test_an_unsupported_class_is_said_to_be_not_zero() -> None:
    text = full_page().text
    assert "Monoblast MOB not supported by the model: number unknown" in text
    assert "Bilobed promyelocyte PMB not supported by the model: number unknown" in text
    assert "monoblast (not supported)" in text


def test_an_empty_slide_shows_no_percentage() -> None:
    report, _ = report_of(cells_of())
    text = Page(render(report)).text
    assert "no percentage" in text
    assert "No leukocytes were found: there is no differential" in text
    table = text[text.index("Differential") : text.index("How to read this")]
    assert " 0.0 %" not in table


def test_one_cell_is_not_many() -> None:
    report, _ = report_of(cells_with({CellClass.NGS: 1}))
    assert "1 leukocyte on" in Page(render(report)).text


def test_a_group_the_model_knows_nothing_of_is_not_zero() -> None:
    monoblasts = CellGroup(name="monoblasts", classes=(CellClass.MOB,))
    report, _ = report_of(random_cells(50), parameters=ScanParameters(blasts=monoblasts))
    text = Page(render(report)).text
    card = text[text.index("▲ Monoblasts") : text.index("◆ Atypical")]
    assert "not supported" in card
    assert " 0.0 %" not in card


def test_a_cell_without_an_image_is_shown_as_such() -> None:
    galleries = choose_gallery(CELLS)
    assert "no image" in Page(render(REPORT, galleries)).text


def test_a_patch_names_its_cell_label_and_probabilities() -> None:
    gallery = choose_gallery(CELLS)[0]
    cell = gallery.cells[0]
    text = Page(render(REPORT, (gallery,))).text
    assert f"{cell.label} {cell.top_probability:.2f} {cell.id}" in text
    assert f"P(blast) {cell.p_blast:.2f}" in text


def test_the_reading_order_is_the_whole_differential() -> None:
    assert set(READING_ORDER) == set(REPORT.differential)
    assert len(READING_ORDER) == len(set(READING_ORDER))


def test_every_class_is_named() -> None:
    text = full_page().text.lower()
    assert all(NAMES[code] in text for code in CODES)


@pytest.mark.parametrize(
    ("percent", "text"),
    [(0, "0.0 %"), (5.04, "5.0 %"), (0.05, "0.1 %"), (0.049, "0.05 %"), (0.0012, "0.0012 %")],
)
def test_a_percentage_above_zero_never_reads_zero(percent: float, text: str) -> None:
    assert format_percent(percent).replace("\N{NO-BREAK SPACE}", " ") == text


def test_an_interval_reads_from_low_to_high() -> None:
    assert format_interval((2.4213, 9.0021)).replace("\N{NO-BREAK SPACE}", " ") == "2.4–9.0 %"


def test_a_bar_stays_on_its_axis() -> None:
    shares = list(REPORT.differential.values())
    scale = choose_scale(shares)
    bars = [bar for bar in (place_bar(share, scale) for share in shares) if bar]
    assert bars
    assert all(0 <= bar.lower <= bar.value <= bar.upper <= 100 for bar in bars)


def test_versions_of_libraries_are_listed() -> None:
    report, _ = report_of(
        cells_of(), versions=Versions(smearscan="9.9", python="3.12", libraries={"torch": "2.11"})
    )
    assert "smearscan 9.9, Python 3.12, torch 2.11" in Page(render(report)).text


def test_doubtful_objects_are_shown_and_said_not_to_be_counted() -> None:
    one = DoubtfulObject(id=1, x_px=1.0, y_px=2.0, diameter_um=12.0, detection_score=0.55)
    region = REPORT.region.model_copy(update={"doubtful_objects": 3})
    report = REPORT.model_copy(update={"region": region})
    page = Page(render(report, doubtful=[(one, JPEG), (one, None)]))
    assert "3 doubtful objects not counted" in page.text
    assert "2 of 3 objects that the detector was not sure enough of to count" in page.text
    assert "score 0.55" in page.text and "no image" in page.text
    assert page.images_without_text == 0


def test_a_report_without_doubtful_objects_says_nothing_of_them() -> None:
    region = REPORT.region.model_copy(update={"doubtful_objects": 0})
    page = Page(render(REPORT.model_copy(update={"region": region})))
    assert "doubtful" not in page.text.lower()
