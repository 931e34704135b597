"""What lies where a slide should, and is none."""

import os
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.integration.hostile.outcomes import UNREADABLE, UNSUPPORTED, Cases
from tests.integration.hostile.sound import noise, pixels, write_flat


def jpeg_picture(path: Path) -> None:
    Image.fromarray(pixels()).save(path, "JPEG")


def png_picture(path: Path) -> None:
    Image.fromarray(pixels()).save(path, "PNG")


def text(path: Path) -> None:
    path.write_text("patient,blasts\n1,12\n" * 100)


def zip_archive(path: Path) -> None:
    data = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("slide.tiff", data)


def program(path: Path) -> None:
    path.write_bytes(Path(sys.executable).resolve().read_bytes()[:100_000])


def random_bytes(path: Path) -> None:
    path.write_bytes(noise(100_000))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(100_000))


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def nothing_at_all(path: Path) -> None:
    path.unlink()


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    """Opening it for reading would wait for ever."""
    path.unlink()
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def file_without_permission(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.chmod(0)


def one_px(path: Path) -> None:
    write_flat(path, pixels()[:1, :1], photometric="rgb")


def thumbnail(path: Path) -> None:
    write_flat(path, pixels()[:255, :400], photometric="rgb")


CASES: Cases = {
    jpeg_picture: UNSUPPORTED,
    png_picture: UNSUPPORTED,
    text: UNSUPPORTED,
    zip_archive: UNSUPPORTED,
    program: UNSUPPORTED,
    random_bytes: UNSUPPORTED,
    zeros: UNSUPPORTED,
    empty_file: UNSUPPORTED,
    nothing_at_all: UNREADABLE,
    directory: UNREADABLE,
    fifo: UNREADABLE,
    link_to_itself: UNREADABLE,
    file_without_permission: UNREADABLE,
    one_px: UNSUPPORTED,
    thumbnail: UNSUPPORTED,
}
