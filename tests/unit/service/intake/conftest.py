from pathlib import Path

import pytest

from service.layout import DataRoot


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """An empty data directory."""
    root = DataRoot(tmp_path / "data")
    for directory in (root.uploads, root.slides):
        directory.mkdir(parents=True)
    return root
