import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from models.errors import ModelError
from models.training.data import crop_store
from models.training.data.crop_store import CropStore, choose_px
from models.training.data.crops import read_crop
from tests.training_runs import write_cells


def open_store(folder, cells, px=48) -> CropStore:
    return CropStore.open(folder / "store", cells, field_um=36.0, px=px)


def test_rows_are_what_read_crop_gives_in_the_cells_order(tmp_path):
    cells = write_cells(tmp_path, per_class=5)
    store = open_store(tmp_path, cells)
    assert store.cells == cells and not store.unreadable
    for row, cell in zip(store.read(range(15)), cells, strict=True):
        np.testing.assert_array_equal(row, read_crop(cell, field_um=36.0, px=48))


def test_a_store_is_made_once_and_anew_when_a_file_changed(tmp_path):
    cells = write_cells(tmp_path, per_class=3)
    open_store(tmp_path, cells)
    (made,) = (tmp_path / "store").iterdir()
    before = (made / "crops.rgb").stat().st_mtime_ns
    open_store(tmp_path, cells)
    assert (made / "crops.rgb").stat().st_mtime_ns == before
    status = cells[0].path.stat()
    os.utime(cells[0].path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    open_store(tmp_path, cells)
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_unreadable_files_are_left_out_and_kept_on_record(tmp_path):
    cells = write_cells(tmp_path, per_class=3)
    cells[4].path.write_bytes(b"")
    store = open_store(tmp_path, cells)
    assert store.unreadable == (cells[4],)
    assert store.cells == cells[:4] + cells[5:]
    np.testing.assert_array_equal(store.read([7, 4])[1], read_crop(cells[5], field_um=36.0, px=48))


def test_a_half_made_store_is_made_again(tmp_path):
    cells = write_cells(tmp_path, per_class=3)
    open_store(tmp_path, cells)
    (made,) = (tmp_path / "store").iterdir()
    (made / "readable.json").unlink()
    (made / "crops.rgb").write_bytes(b"half")
    assert open_store(tmp_path, cells).read(range(9)).mean() > 100


def test_two_processes_at_once_make_one_store(tmp_path):
    write_cells(tmp_path, per_class=20)
    code = (
        "import sys; from pathlib import Path; from tests.training_runs import write_cells;"
        "from models.training.data.crop_store import CropStore; folder = Path(sys.argv[1]);"
        "cells = write_cells(folder, per_class=20);"
        "store = CropStore.open(folder / 'store', cells, field_um=36.0, px=200);"
        "print(store.read(range(60)).sum())"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {process.communicate(timeout=120)[0] for process in both}
    assert len(sums) == 1 and int(sums.pop()) > 0


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(crop_store.shutil, "disk_usage", lambda path: usage(0, 0, 2**30))
    with pytest.raises(ModelError, match="--crops"):
        open_store(tmp_path, write_cells(tmp_path, per_class=3))


def test_not_one_readable_file_is_an_error(tmp_path):
    cells = [replace(c, path=tmp_path / "none") for c in write_cells(tmp_path, per_class=1)]
    with pytest.raises(ModelError, match="not one of 3 files"):
        open_store(tmp_path, cells)


def test_crops_are_kept_no_finer_than_the_files(tmp_path):
    cells = write_cells(tmp_path, per_class=1)
    assert choose_px(cells, field_um=36.0, view_px_per_um=128 / 29) == round(36 / 0.3)
    assert choose_px(cells, field_um=36.0, view_px_per_um=32 / 29) == round(36 * 1.25 * 32 / 29)


def test_a_store_that_was_cut_short_is_not_read_as_pixels(tmp_path):
    cells = write_cells(tmp_path, per_class=3)
    store = open_store(tmp_path, cells)
    with store.path.open("r+b") as file:
        file.truncate(4 * 48 * 48 * 3 + 100)
    assert store.read([3]).shape == (1, 48, 48, 3)
    with pytest.raises(OSError, match="ends before row 4"):
        store.read([4])
