from models.taxonomy import CellClass
from service.exports.gallery import CLASS_CELLS, TOP_CELLS, Gallery, choose_gallery
from tests.analyses import cells_of, cells_with, certain, random_cells, report_of

_, MANY = report_of(random_cells(800))


def by_title(galleries: tuple[Gallery, ...]) -> dict[str, Gallery]:
    return {gallery.title: gallery for gallery in galleries}


def test_no_cells_give_no_galleries() -> None:
    _, cells = report_of(cells_of())
    assert choose_gallery(cells) == ()


def test_likely_blasts_come_first_most_likely_ahead() -> None:
    first = choose_gallery(MANY)[0]
    shown = [cell.p_blast for cell in first.cells]
    assert first.title == "Highest blast probability"
    assert shown == sorted((cell.p_blast or 0 for cell in MANY), reverse=True)[:TOP_CELLS]


def test_uncertain_cells_come_second_least_certain_ahead() -> None:
    second = choose_gallery(MANY)[1]
    shown = [cell.top_probability for cell in second.cells]
    assert shown == sorted(cell.top_probability for cell in MANY)[:TOP_CELLS]


def test_a_class_gallery_holds_only_its_class() -> None:
    gallery = by_title(choose_gallery(MANY))["Myeloblast (MYO)"]
    assert {cell.label for cell in gallery.cells} == {CellClass.MYO}


def test_a_class_that_fits_is_shown_whole() -> None:
    _, cells = report_of(cells_with({CellClass.EOS: CLASS_CELLS}))
    gallery = by_title(choose_gallery(cells))["Eosinophil (EOS)"]
    assert len(gallery.cells) == CLASS_CELLS
    assert gallery.note.startswith("All cells")


def test_a_larger_class_is_sampled_from_its_best_to_its_worst() -> None:
    rows = [certain(CellClass.EOS, 0.6 + 0.03 * i) for i in range(CLASS_CELLS + 1)]
    _, cells = report_of(cells_of(*rows))
    gallery = by_title(choose_gallery(cells))["Eosinophil (EOS)"]
    shown = [cell.top_probability for cell in gallery.cells]
    assert len(set(shown)) == CLASS_CELLS
    assert (shown[0], shown[-1]) == (0.96, 0.6)
    assert gallery.note.startswith("12 of 13 cells")


def test_the_number_shown_does_not_grow_with_the_slide() -> None:
    shown = sum(len(gallery.cells) for gallery in choose_gallery(MANY))
    assert shown <= 2 * TOP_CELLS + 15 * CLASS_CELLS
