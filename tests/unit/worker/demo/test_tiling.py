from pathlib import Path

import numpy as np

from worker.demo.tiling import PixelFile
from worker.slide.geometry import Size


def test_pixels_on_disk_are_read_back_where_they_were_put(tmp_path: Path) -> None:
    file = PixelFile.create(tmp_path / "pixels", Size(30, 20))
    patch = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    file.write(7, 3, patch)
    assert np.array_equal(file.read(7, 3, 5, 4), patch)
    assert file.read(0, 0, 7, 20).sum() == 0
