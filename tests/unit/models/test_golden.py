import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from models.catalogue import (
    CARD_FILE,
    DEFAULT_CLASSIFIER,
    WEIGHTS_FILE,
    WEIGHTS_ROOT,
    hash_file,
)
from models.checkpoint import load_weights
from models.errors import GoldenMismatch, WeightsCorrupt, WeightsUnavailable
from models.golden import GOLDEN_FILE, check_golden, golden_patches, read_golden, write_golden
from models.predictor import Classifier
from models.taxonomy import CODES

SERVED = WEIGHTS_ROOT / DEFAULT_CLASSIFIER


@pytest.fixture
def copy(tmp_path):
    """The served weights, to be damaged."""
    return shutil.copytree(SERVED, tmp_path / "weights")


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_patches_are_the_same_bytes_everywhere():
    patches = golden_patches()
    assert patches.shape == (4, 400, 400, 3)
    assert hashlib.sha256(patches.tobytes()).hexdigest() == (
        "0c54c437c9aa482b6ba93833040f0b3ff2aaaa1d0b481c837a7b367d96dfbd96"
    )


def test_the_patches_are_cells_that_the_served_weights_tell_apart():
    named = Classifier.load().predict(golden_patches()).argmax(axis=1)
    assert len({CODES[index] for index in named}) == 4


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("fused", [False, True])
def test_the_served_weights_say_what_they_said_at_export(threads, batch_size, fused):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        classifier = Classifier.load()
        classifier = classifier.fuse() if fused else classifier
        classifier.batch_size = batch_size
        deviation = check_golden(classifier, SERVED)
    finally:
        torch.set_num_threads(before)
    assert deviation < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_served_weights_say_the_same_on_an_accelerator():
    check_golden(Classifier.load(device="cuda"), SERVED)


def test_the_recorded_rows_are_probabilities():
    rows = np.array(read_golden(SERVED).probabilities)
    assert rows.shape == (4, 15)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)


def test_a_changed_weight_is_noticed_by_its_outputs(copy):
    classifier = Classifier.load(str(copy))
    with torch.no_grad():
        classifier.network.get_parameter("_blocks.5._project_conv.weight").mul_(1.2)
    with pytest.raises(GoldenMismatch, match=r"tolerance 0\.0001.*exported with torch"):
        check_golden(classifier, copy)


def test_a_changed_mean_is_noticed_by_its_outputs(copy):
    rewrite(copy / CARD_FILE, mean=[0.49, 0.5, 0.5])
    with pytest.raises(GoldenMismatch):
        check_golden(Classifier.load(str(copy)), copy)


def test_broken_outputs_do_not_pass_for_equal(copy):
    classifier = Classifier.load(str(copy))
    with torch.no_grad():
        classifier.network.get_parameter("_fc.bias").fill_(torch.nan)
    with pytest.raises(GoldenMismatch, match="nan"):
        check_golden(classifier, copy)


def test_golden_outputs_of_other_weights_or_patches_are_refused(copy):
    classifier = Classifier.load(str(copy))
    rewrite(copy / GOLDEN_FILE, weights_sha256="0" * 64)
    with pytest.raises(WeightsCorrupt, match="is of weights 000000000000"):
        check_golden(classifier, copy)
    write_golden(classifier, copy)
    rewrite(copy / GOLDEN_FILE, input_sha256="0" * 64)
    with pytest.raises(WeightsCorrupt, match="other patches"):
        check_golden(classifier, copy)


def test_a_missing_or_damaged_record_is_named(copy):
    classifier = Classifier.load(str(copy))
    (copy / GOLDEN_FILE).write_text('{"tolerance": 2}')
    with pytest.raises(WeightsCorrupt, match="not valid"):
        check_golden(classifier, copy)
    (copy / GOLDEN_FILE).unlink()
    with pytest.raises(WeightsUnavailable, match=r"golden\.json"):
        check_golden(classifier, copy)


def test_truncated_and_tampered_served_weights_are_refused(copy):
    path = copy / WEIGHTS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsCorrupt, match="truncated or was changed"):
        Classifier.load(str(copy))
    with pytest.raises(WeightsCorrupt, match="does not fit"):
        load_weights(Classifier.load().network, path, hash_file(path))
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsCorrupt, match="truncated or was changed"):
        Classifier.load(str(copy))
