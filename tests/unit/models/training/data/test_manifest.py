import pytest

from models.training.data.manifest import ManifestError, read_manifest

HEADER = "path,source,label,patient,split,um_per_px\n"


def write(tmp_path, *rows, header=HEADER):
    path = tmp_path / "cells.csv"
    path.write_text(header + "".join(row + "\n" for row in rows))
    return path


def test_rows_of_the_split_are_kept_and_paths_are_relative_to_the_root(tmp_path):
    path = write(tmp_path, "a.jpg,pbc,MYO,,train,0.1", "b.jpg,pbc,NGS,,val,0.1")
    cells = read_manifest(path, root=tmp_path / "data", split="val").cells
    assert [cell.path for cell in cells] == [tmp_path / "data" / "b.jpg"]


def test_a_left_out_split_is_dropped_and_an_empty_split_is_kept(tmp_path):
    path = write(tmp_path, "a.jpg,pbc,MYO,,train,0.1", "b.jpg,pbc,NGS,,,0.1")
    cells = read_manifest(path, root=tmp_path, leave_out_split="train").cells
    assert [cell.label for cell in cells] == ["NGS"]


def test_labels_outside_the_taxonomy_are_left_out_and_counted(tmp_path):
    path = write(tmp_path, "a.jpg,x,artefact,,val,0.1", "b.jpg,x,artefact,,val,0.1")
    manifest = read_manifest(path, root=tmp_path)
    assert manifest.cells == ()
    assert manifest.left_out == {"artefact": 2}


def test_a_missing_column_is_named(tmp_path):
    path = write(tmp_path, header="path,source,label\n")
    with pytest.raises(ManifestError, match="patient, split, um_per_px"):
        read_manifest(path, root=tmp_path)


@pytest.mark.parametrize("value", ["", "0", "-0.1", "inf", "nan", "fine"])
def test_a_resolution_that_is_not_a_positive_number_names_the_line(tmp_path, value):
    path = write(tmp_path, f"a.jpg,pbc,MYO,,val,{value}")
    with pytest.raises(ManifestError, match="line 2"):
        read_manifest(path, root=tmp_path)
