import shutil

import pytest
from PIL import Image

from models.taxonomy import CellClass
from models.training.data.annotations import read_annotations
from models.training.data.lmu import (
    DatasetNotFound,
    find_lmu,
    list_lmu_cells,
    load_lmu,
    verify_lmu,
)

LINES = "BAS/BAS_0001.tiff BAS nan nan\nMYO/MYO_0001.tiff MYO MYO UNC\n"


def unpack(classes, *, annotations=None, size=(400, 400)):
    """A data set of two cells."""
    for name in ("BAS/BAS_0001.tiff", "MYO/MYO_0001.tiff"):
        path = classes / name
        path.parent.mkdir(parents=True)
        Image.new("RGBA", size, (200, 150, 180, 255)).save(path)
    (annotations or classes).mkdir(parents=True, exist_ok=True)
    ((annotations or classes) / "annotations.dat").write_text(LINES)


@pytest.mark.parametrize(
    ("classes", "annotations"),
    [
        (".", "."),
        ("AML-Cytomorphology_LMU", "AML-Cytomorphology_LMU"),
        ("AML-Cytomorphology", "."),
        ("PKG - AML-Cytomorphology_LMU/AML-Cytomorphology_LMU", "PKG - AML-Cytomorphology_LMU"),
        ("PKG - AML-Cytomorphology_LMU/AML-Cytomorphology_LMU/images", "metadata"),
    ],
)
def test_the_data_set_is_found_under_the_names_people_have(tmp_path, classes, annotations):
    unpack(tmp_path / classes, annotations=tmp_path / annotations)
    dataset = find_lmu(tmp_path)
    assert dataset.classes == tmp_path / classes
    assert dataset.annotations == tmp_path / annotations / "annotations.dat"


def test_the_class_folders_parent_may_be_given_with_annotations_above_it(tmp_path):
    unpack(tmp_path / "set" / "images", annotations=tmp_path / "set")
    assert find_lmu(tmp_path / "set" / "images").annotations.parent == tmp_path / "set"


def test_a_folder_without_class_folders_is_not_the_data_set(tmp_path):
    (tmp_path / "something").mkdir()
    with pytest.raises(DatasetNotFound, match="no folders named after classes"):
        find_lmu(tmp_path)


def test_two_data_sets_below_one_folder_are_not_guessed_between(tmp_path):
    unpack(tmp_path / "one")
    unpack(tmp_path / "two")
    with pytest.raises(DatasetNotFound, match=r"one.*two"):
        find_lmu(tmp_path)


def test_class_folders_without_annotations_say_what_is_lacking(tmp_path):
    unpack(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "annotations.dat").unlink()
    with pytest.raises(DatasetNotFound, match=r"no annotations\.dat"):
        find_lmu(tmp_path)


def test_cells_are_named_relative_to_the_given_root_and_have_the_papers_scale(tmp_path):
    unpack(tmp_path / "AML-Cytomorphology_LMU")
    dataset, annotations = load_lmu(tmp_path)
    cells = list_lmu_cells(dataset, annotations, root=tmp_path, without=frozenset())
    assert [cell.name for cell in cells] == [
        "AML-Cytomorphology_LMU/BAS/BAS_0001.tiff",
        "AML-Cytomorphology_LMU/MYO/MYO_0001.tiff",
    ]
    assert all((tmp_path / cell.name).samefile(cell.path) for cell in cells)
    assert {(c.source, c.patient, c.um_per_px) for c in cells} == {("lmu", "", 0.0725)}


def test_a_whole_data_set_has_no_findings(tmp_path):
    unpack(tmp_path)
    findings = verify_lmu(*load_lmu(tmp_path))
    assert not findings.unusable
    assert findings.extra == ()


def test_every_kind_of_fault_is_listed_by_name(tmp_path):
    unpack(tmp_path)
    Image.new("RGB", (400, 399)).save(tmp_path / "BAS" / "BAS_0002.tiff")
    Image.new("RGB", (400, 400)).save(tmp_path / "BAS" / "BAS_0003.tiff")
    (tmp_path / "BAS" / "BAS_0004.tiff").write_bytes(b"not an image")
    shutil.copy(tmp_path / "BAS" / "BAS_0001.tiff", tmp_path / "BAS" / "BAS_0001_101.tiff")
    (tmp_path / "MYO" / "MYO_0001.tiff").unlink()
    more = "BAS/BAS_0002.tiff BAS nan nan\nBAS/BAS_0003.tiff EOS nan nan\n"
    (tmp_path / "annotations.dat").write_text(LINES + more + "BAS/BAS_0004.tiff BAS nan nan\n")
    dataset, annotations = load_lmu(tmp_path)
    findings = verify_lmu(dataset, annotations)
    assert findings.missing == ("MYO/MYO_0001.tiff",)
    assert findings.unreadable == ("BAS/BAS_0004.tiff",)
    assert findings.wrong_size == (("BAS/BAS_0002.tiff", 400, 399),)
    assert findings.mislabelled == (("BAS/BAS_0003.tiff", CellClass.EOS),)
    assert findings.extra == ("BAS/BAS_0001_101.tiff",)
    cells = list_lmu_cells(dataset, annotations, root=tmp_path, without=findings.unusable)
    assert [cell.name for cell in cells] == ["BAS/BAS_0001.tiff"]


def test_genuine_crops_with_a_number_behind_their_name_are_extra_but_of_an_annotated_cell(
    real_data,
):
    """No annotation names EOS_0012_110: a second file of an annotated cell must not be counted."""
    dataset, annotations = load_lmu(real_data / "lmu")
    findings = verify_lmu(dataset, annotations)
    labels = {row.name: row.label for row in read_annotations(dataset.annotations)}
    assert len(findings.extra) == 10
    assert len(findings.missing) == 18_365
    for name in findings.extra:
        annotated = name.rpartition("_")[0] + ".tiff"
        assert labels[annotated] == name.partition("/")[0]
