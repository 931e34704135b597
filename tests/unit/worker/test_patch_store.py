import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from service.contract.failure import AnalysisError, FailureCode
from service.patches import PATCHES_FILE, PatchMissing, read_patch
from tests.slide_files import paint_smear
from worker.patch_store import PatchStore


def patch_of(shade: int) -> np.ndarray:
    """A patch whose mean tells it from the others."""
    return np.full((40, 40, 3), shade, np.uint8)


def shade_of(jpeg: bytes) -> int:
    return round(float(np.asarray(Image.open(BytesIO(jpeg))).mean()))


def write_store(folder: Path, kept: list[list[int]], order: list[int]) -> Path:
    """Patches of the cells in `kept`, batch by batch; a cell's index is its shade."""
    folder.mkdir(exist_ok=True)
    with PatchStore(folder / "partial") as store:
        for batch in kept:
            patches = [patch_of(cell) for cell in batch]
            store.keep(batch, np.array(patches).reshape(-1, 40, 40, 3))
        store.number(np.array(order, np.intp))
        store.place(folder / PATCHES_FILE)
    return folder


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes beyond `size` bytes of a file fail (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_patches_read_in_any_order_are_found_by_the_number_of_their_cell(tmp_path):
    # detections 10, 30, 50, 70 were readable; sorted by place they are 50, 10, 70, 30
    folder = write_store(tmp_path, kept=[[70, 10], [50], [30]], order=[2, 0, 3, 1])
    assert [shade_of(read_patch(folder, cell)) for cell in (1, 2, 3, 4)] == [50, 10, 70, 30]


def test_any_tool_can_open_the_file(tmp_path):
    folder = write_store(tmp_path, kept=[[70, 10], [50]], order=[1, 2, 0])
    with ZipFile(folder / PATCHES_FILE) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["0000001.jpg", "0000002.jpg", "0000003.jpg"]
        assert [archive.read(f"000000{cell}.jpg") for cell in (1, 2, 3)] == [
            read_patch(folder, cell) for cell in (1, 2, 3)
        ]


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_finds_nothing_wrong(tmp_path):
    folder = write_store(tmp_path, kept=[[70, 10], [50]], order=[1, 2, 0])
    subprocess.run(["unzip", "-tq", folder / PATCHES_FILE], check=True, capture_output=True)


def test_more_cells_than_two_bytes_count_are_found(tmp_path):
    count = 70_000
    cells = list(range(count))
    patches = np.broadcast_to(np.zeros((8, 8, 3), np.uint8), (1000, 8, 8, 3)).copy()
    with PatchStore(tmp_path / "partial") as store:
        for start in range(0, count, 1000):
            patches[:] = start // 1000
            store.keep(cells[start : start + 1000], patches)
        store.number(np.arange(count - 1, -1, -1))
        store.place(tmp_path / PATCHES_FILE)
    with ZipFile(tmp_path / PATCHES_FILE) as archive:
        assert len(archive.namelist()) == count
        assert archive.read("0065537.jpg") == read_patch(tmp_path, 65_537)
    assert shade_of(read_patch(tmp_path, 1)) == 69
    assert shade_of(read_patch(tmp_path, count)) == 0


def test_patches_beyond_four_gibibytes_are_found(tmp_path):
    with PatchStore(tmp_path / "partial") as store:
        store.keep([10], np.array([patch_of(10)]))
        store._file.seek(5 << 30)  # a hole: sparse on disk, as if 150,000 patches lay here
        store._at = 5 << 30
        store.keep([20], np.array([patch_of(20)]))
        store.number(np.array([1, 0]))
        store.place(tmp_path / PATCHES_FILE)
    assert [shade_of(read_patch(tmp_path, cell)) for cell in (1, 2)] == [20, 10]
    with ZipFile(tmp_path / PATCHES_FILE) as archive:
        assert archive.read("0000001.jpg") == read_patch(tmp_path, 1)


def test_the_same_patches_give_the_same_bytes(tmp_path):
    first = write_store(tmp_path / "a", kept=[[70, 10], [50]], order=[1, 2, 0])
    again = write_store(tmp_path / "b", kept=[[70, 10], [50]], order=[1, 2, 0])
    assert (first / PATCHES_FILE).read_bytes() == (again / PATCHES_FILE).read_bytes()


def test_a_scan_without_cells_has_an_empty_archive(tmp_path):
    folder = write_store(tmp_path, kept=[], order=[])
    with ZipFile(folder / PATCHES_FILE) as archive:
        assert archive.namelist() == []
    with pytest.raises(PatchMissing, match="no cell 1"):
        read_patch(folder, 1)


@pytest.mark.parametrize("cell", [0, -1, 4, 10**12])
def test_a_cell_that_is_not_there_is_named(tmp_path, cell):
    folder = write_store(tmp_path, kept=[[70, 10, 50]], order=[0, 1, 2])
    assert read_patch(folder, 3)
    with pytest.raises(PatchMissing, match=f"no cell {cell}: this scan's cells are 1 to 3"):
        read_patch(folder, cell)


def test_results_without_patches_say_so(tmp_path):
    with pytest.raises(PatchMissing, match="not kept"):
        read_patch(tmp_path, 1)


@pytest.mark.parametrize("left", [0, 21, 97, 98, 300])
def test_a_file_cut_short_is_damaged(tmp_path, left):
    folder = write_store(tmp_path, kept=[[70, 10, 50]], order=[0, 1, 2])
    os.truncate(folder / PATCHES_FILE, left)
    with pytest.raises(PatchMissing, match=r"damaged|cannot be read"):
        read_patch(folder, 1)


def test_a_flipped_bit_is_never_shown_as_a_cell(tmp_path):
    folder = write_store(tmp_path, kept=[[70, 10, 50]], order=[0, 1, 2])
    path = folder / PATCHES_FILE
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xd8") + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(PatchMissing, match="stored patch of cell 3 is damaged"):
        read_patch(folder, 3)
    assert shade_of(read_patch(folder, 1)) == 10


@pytest.mark.parametrize("order", [[0], [0, 0], [0, 2], [0, 1, 2]])
def test_numbers_that_do_not_fit_the_patches_are_refused(tmp_path, order):
    with PatchStore(tmp_path / "partial") as store:
        store.keep([1, 2], np.array([patch_of(1), patch_of(2)]))
        with pytest.raises(ValueError, match="2 patches are kept"):
            store.number(np.array(order, np.intp))


def test_a_file_without_numbers_is_not_placed_and_leaves_nothing(tmp_path):
    with PatchStore(tmp_path / "partial") as store:
        store.keep([1], np.array([patch_of(1)]))
        with pytest.raises(ValueError, match="numbered"):
            store.place(tmp_path / PATCHES_FILE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_may_not_grow_is_full_storage_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(AnalysisError) as caught,
        file_size_limit(4096),
        PatchStore(tmp_path / "partial") as store,
    ):
        for cell in range(100):
            store.keep([cell], paint_smear(100, 100, cell)[None])
    assert caught.value.code is FailureCode.STORAGE_FULL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_a_typed_failure(tmp_path):
    store = PatchStore(tmp_path / "partial")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, store._file.fileno())
    os.close(full)
    with pytest.raises(AnalysisError) as caught, store:
        for cell in range(100):
            store.keep([cell], paint_smear(100, 100, cell)[None])
    assert caught.value.code is FailureCode.STORAGE_FULL
    assert list(tmp_path.iterdir()) == []


def test_a_patch_keeps_its_colours(tmp_path):
    """Chroma is not subsampled: a red pixel beside a blue one stays red."""
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2, 0] = stripes[:, :, 1::2, 2] = 200
    with PatchStore(tmp_path / "partial") as store:
        store.keep([0], stripes)
        store.number(np.array([0]))
        store.place(tmp_path / PATCHES_FILE)
    image = Image.open(BytesIO(read_patch(tmp_path, 1)))
    assert np.abs(np.asarray(image).astype(int) - stripes[0]).mean() < 12
