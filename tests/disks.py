"""Disks that are small enough to be filled: a tmpfs, where this machine allows to mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(directory: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own at a directory, which is made; skips where none can be mounted."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = f"size={size_bytes},mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def free_bytes(directory: Path) -> int:
    """Room on a file system."""
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize


@contextmanager
def filled(directory: Path, *, leave_bytes: int = 0) -> Iterator[None]:
    """A disk that is full but for so much, for as long as the block lasts."""
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(max(0, free_bytes(directory) - leave_bytes)))
    try:
        yield
    finally:
        ballast.unlink()
