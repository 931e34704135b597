from pathlib import Path

import pytest

from worker.exchange import exchange_paths


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir()
        (path / "name").write_text(path.name)
    if not exchange_paths(one, other):
        pytest.skip("this file system cannot exchange two names")
    exchange_paths(one, other)
    return one, other


def test_two_directories_trade_places(pair: tuple[Path, Path]) -> None:
    one, other = pair
    assert exchange_paths(one, other)
    assert ((one / "name").read_text(), (other / "name").read_text()) == ("other", "one")


def test_a_missing_path_is_an_error(pair: tuple[Path, Path]) -> None:
    with pytest.raises(FileNotFoundError):
        exchange_paths(pair[0], pair[1] / "missing")
