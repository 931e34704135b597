import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from worker.model.memory import SMALLEST, OwnMemory, map_received
from worker.model.wire import MAX_SHARED_BYTES, InvalidMessage

SIZE = 4096


@contextmanager
def memfd(size: int, seals: int) -> Iterator[int]:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        if seals:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


def test_what_one_side_writes_the_other_reads():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3)).astype(np.uint8)
    memory = OwnMemory(pixels.size)
    seen = map_received(memory.fd, memory.size)
    memory.write(pixels)
    assert np.array_equal(seen[: pixels.size].reshape(pixels.shape), pixels)
    memory.close()


def test_what_was_mapped_stays_when_its_owner_gives_it_up():
    memory = OwnMemory(SIZE)
    seen = map_received(memory.fd, memory.size)
    memory.write(np.full(SIZE, 7, np.uint8))
    memory.close()
    assert (seen[:SIZE] == 7).all()


def test_its_owner_cannot_cut_it():
    memory = OwnMemory(SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(memory.fd, 0)
    memory.close()


@pytest.mark.parametrize(
    ("at_least", "size"),
    [(1, SMALLEST), (SMALLEST, SMALLEST), (SMALLEST + 1, 2 * SMALLEST)],
)
def test_sizes_are_powers_of_two(at_least, size):
    memory = OwnMemory(at_least)
    assert memory.size == size
    memory.close()


def test_memory_that_could_be_cut_is_refused():
    with memfd(SIZE, 0) as fd, pytest.raises(InvalidMessage, match="sealed"):
        map_received(fd, SIZE)
    with memfd(SIZE, fcntl.F_SEAL_SHRINK) as fd:
        assert len(map_received(fd, SIZE)) == SIZE


@pytest.mark.parametrize("said", [SIZE - 1, SIZE + 1, 0, -1, 100 << 30])
def test_memory_of_another_size_than_said_is_refused(said):
    with memfd(SIZE, fcntl.F_SEAL_SHRINK) as fd, pytest.raises(InvalidMessage):
        map_received(fd, said)


def test_memory_at_the_limit_is_taken_and_a_page_more_refused():
    with memfd(MAX_SHARED_BYTES, fcntl.F_SEAL_SHRINK) as fd:
        assert len(map_received(fd, MAX_SHARED_BYTES)) == MAX_SHARED_BYTES
    size = MAX_SHARED_BYTES + 4096
    with memfd(size, fcntl.F_SEAL_SHRINK) as fd, pytest.raises(InvalidMessage, match="at most"):
        map_received(fd, size)


def test_a_file_and_a_pipe_are_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    reader, writer = os.pipe()
    with path.open("rb") as file:
        for fd in (file.fileno(), reader):
            with pytest.raises(InvalidMessage):
                map_received(fd, SIZE)
    os.close(reader)
    os.close(writer)
