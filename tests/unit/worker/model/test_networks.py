from pathlib import Path

import pytest

from models.catalogue import DEFAULT_CLASSIFIER, WEIGHTS_ROOT
from models.detector import Detector
from models.errors import WeightsCorrupt, WeightsUnavailable
from models.predictor import Classifier
from worker.model.networks import Networks

SERVED = WEIGHTS_ROOT / DEFAULT_CLASSIFIER


@pytest.fixture
def networks(tmp_path) -> Networks:
    """The served classifier, and copies of it under the names a, b and c, of which two are kept."""
    for name in "abc":
        install(tmp_path / name)
    return Networks(Detector.load(), Classifier.load(), root=tmp_path, kept=2)


def install(directory: Path) -> None:
    directory.mkdir()
    for file in SERVED.iterdir():
        (directory / file.name).symlink_to(file)


def test_a_classifier_is_loaded_once_and_then_found(networks):
    assert networks.find("a") is None
    loaded = networks.demand("a")
    assert networks.find("a") is networks.demand("a") is loaded


def test_the_one_used_longest_ago_makes_room_and_the_default_one_stays(networks):
    for name in ("a", "b", "a", "c"):
        networks.demand(name)
    assert networks.names == (DEFAULT_CLASSIFIER, "a", "c")
    assert networks.find("") is networks.find(DEFAULT_CLASSIFIER) is networks.default


def test_an_unknown_name_says_what_there_is(networks):
    with pytest.raises(WeightsUnavailable, match="a, b, c"):
        networks.demand("d")


def test_a_damaged_classifier_is_refused_and_costs_no_other_its_place(networks, tmp_path):
    (tmp_path / "c" / "card.json").unlink()
    (tmp_path / "c" / "card.json").write_text("{}")
    for name in "ab":
        networks.demand(name)
    with pytest.raises(WeightsCorrupt):
        networks.demand("c")
    assert networks.names == (DEFAULT_CLASSIFIER, "a", "b")
