import pytest

from models.taxonomy import CellClass
from models.training.data.annotations import (
    EXPECTED_COUNTS,
    Annotation,
    AnnotationsError,
    count_classes,
    read_annotations,
)


def write(tmp_path, text):
    path = tmp_path / "annotations.dat"
    path.write_text(text)
    return path


def test_a_line_is_image_label_and_two_re_annotations(tmp_path):
    path = write(tmp_path, "MYO/MYO_0001.tiff MYO  MOB\tUNC\n\nBAS/BAS_0001.tiff BAS nan nan\n")
    assert read_annotations(path) == (
        Annotation("MYO/MYO_0001.tiff", CellClass.MYO, CellClass.MOB, "UNC"),
        Annotation("BAS/BAS_0001.tiff", CellClass.BAS, None, None),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("MYO/b.tiff MYO nan", "3 fields"),
        ("MYO/b.tiff MYO nan nan nan", "5 fields"),
        ("MYO/b.tiff XYZ nan nan", "label is 'XYZ'"),
        ("MYO/b.tiff UNC nan nan", "label is 'UNC'"),
        ("MYO/b.tiff nan nan nan", "label is 'nan'"),
        ("MYO/b.tiff MYO nan myo", "re-annotation 2 is 'myo'"),
        ("b.tiff MYO nan nan", "expected CLASS/FILE"),
        ("MYO/../../b.tiff MYO nan nan", "expected CLASS/FILE"),
        ("MYO/a.tiff MYO nan nan", "stands in line 1 already"),
    ],
)
def test_a_line_that_means_nothing_is_named_by_its_number(tmp_path, line, said):
    path = write(tmp_path, f"MYO/a.tiff MYO nan nan\n{line}\n")
    with pytest.raises(AnnotationsError, match="line 2") as caught:
        read_annotations(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00"])
def test_a_file_without_an_annotation_is_refused(tmp_path, content):
    path = tmp_path / "annotations.dat"
    path.write_bytes(content)
    with pytest.raises(AnnotationsError, match="annotation"):
        read_annotations(path)


def test_the_published_file_holds_the_published_counts(real_data):
    rows = read_annotations(real_data / "lmu" / "annotations.dat")
    assert count_classes(row.label for row in rows) == EXPECTED_COUNTS
    assert len(rows) == sum(EXPECTED_COUNTS.values()) == 18_365
    assert all(row.folder == row.label for row in rows)
    assert sum(row.first is not None and row.second is not None for row in rows) == 1905
