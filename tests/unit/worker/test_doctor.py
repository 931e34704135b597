import json
import shutil
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

from models.catalogue import CARD_FILE, DEFAULT_CLASSIFIER, WEIGHTS_FILE, WEIGHTS_ROOT
from models.golden import GOLDEN_FILE
from worker.doctor import LIBRARIES, Finding, examine


@pytest.fixture
def root(tmp_path):
    """A copy of the served classifier, to be damaged."""
    shutil.copytree(WEIGHTS_ROOT / DEFAULT_CLASSIFIER, tmp_path / DEFAULT_CLASSIFIER)
    return tmp_path


def find(root, what: str) -> Finding:
    return next(finding for finding in examine(device="cpu", root=root) if what in finding.what)


def test_outputs_of_the_served_weights_are_those_at_their_export(root):
    finding = find(root, "outputs")
    assert finding.ok
    assert finding.detail.startswith("within ")


def test_outputs_that_differ_from_those_at_export_are_a_finding(root):
    path = root / DEFAULT_CLASSIFIER / GOLDEN_FILE
    golden = json.loads(path.read_text())
    golden["probabilities"][2][10] += 0.001
    path.write_text(json.dumps(golden))
    finding = find(root, "outputs")
    assert not finding.ok
    assert "0.001 from those of their export on cpu" in finding.detail


@pytest.mark.parametrize("missing", [GOLDEN_FILE, WEIGHTS_FILE, CARD_FILE])
def test_a_missing_file_of_the_served_weights_is_a_finding(root, missing):
    (root / DEFAULT_CLASSIFIER / missing).unlink()
    finding = find(root, "outputs")
    assert not finding.ok
    assert missing in finding.detail or "no weights called" in finding.detail


def test_every_library_that_is_asked_for_comes_with_a_plain_installation():
    needed = [Requirement(text) for text in requires("smearscan")]
    plain = {
        requirement.name
        for requirement in needed
        if requirement.marker is None or requirement.marker.evaluate({"extra": "worker"})
    }
    assert set(LIBRARIES) <= plain | {"smearscan"}
