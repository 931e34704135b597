import io

import pytest

from service.batches.manifest import ManifestInvalid, read_manifest


def read(text: str):
    return list(read_manifest(io.StringIO(text, newline="")))


def test_columns_may_come_in_any_order_and_cells_be_empty():
    first, second = read("accession,slide_uri,um_per_px\nH-1,/a.svs,0.25\n,/b.svs,\n")
    assert (first.slide_uri, first.um_per_px, first.accession) == ("/a.svs", 0.25, "H-1")
    assert (second.slide_uri, second.um_per_px, second.accession) == ("/b.svs", None, None)


def test_what_spreadsheets_write_is_read():
    (item,) = read('\ufeffslide_uri;um_per_px\r\n"/a;b ""c"".svs";0.5\r\n;\r\n')
    assert (item.slide_uri, item.um_per_px, item.failure) == ('/a;b "c".svs', 0.5, None)


@pytest.mark.parametrize(
    "header", ["", "path", "slide_uri,patient", "slide_uri,slide_uri", "um_per_px"]
)
def test_a_header_that_is_not_a_manifests_is_refused(header):
    with pytest.raises(ManifestInvalid, match="header"):
        read(f"{header}\n/a.svs\n")


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ("/a.svs,0.019,", "resolution_unsupported", "'0.019'"),
        ("/a.svs,nan,", "resolution_unsupported", "'nan'"),
        ('/a.svs,"0,25",', "resolution_unsupported", "decimal point"),
        ("/a.svs,0.25,x,y", "slide_unreadable", "4 cells"),
        ("/a.svs", "slide_unreadable", "1 cells"),
        (",0.25,H", "slide_unreadable", "names no slide"),
        (f"/a.svs,,{'9' * 129}", "slide_unreadable", "128"),
    ],
)
def test_a_wrong_row_is_a_failed_slide_and_the_next_is_read(row, code, message):
    wrong, right = read(f"slide_uri,um_per_px,accession\n{row}\n/b.svs,10,{'9' * 128}\n")
    assert wrong.failure is not None
    assert wrong.failure.code == code
    assert message in wrong.failure.message
    assert "line 2" in wrong.failure.message
    assert (right.failure, right.um_per_px) == (None, 10)


def test_what_is_no_csv_says_where():
    with pytest.raises(ManifestInvalid, match="line 2"):
        read('slide_uri\n"/a.svs" x\n')
