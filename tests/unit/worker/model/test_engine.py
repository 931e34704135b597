import numpy as np
import pytest
import torch
from torch import nn

from models.density import relative_density
from models.detector import Detector
from models.errors import WeightsCorrupt
from models.golden import golden_patches
from models.predictor import Classifier
from models.taxonomy import CODES
from tests.cards import make_card
from tests.smears import paint_field
from worker.model.engine import BatchRecord, Engine
from worker.model.networks import Networks
from worker.model.schedule import Closed, Job, Key


class MeanColour(nn.Module):
    """Logits that follow the mean colour; fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, len(CODES))
        self.broken = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.broken:
            raise RuntimeError("the device is gone")
        out: torch.Tensor = self.head(images.mean((2, 3)))
        return out


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


@pytest.fixture
def networks(detector) -> Networks:
    torch.manual_seed(0)
    return Networks(detector, Classifier(MeanColour(), make_card(input_px=64)))


def classify(patches: np.ndarray) -> Job:
    return Job(Key("classify", "", (400, 400, 3), 8), patches, "0" * 64)


def outcome(job: Job) -> np.ndarray:
    assert job.finished.wait(60)
    assert job.error is None
    return np.concatenate(job.results)


def run(networks: Networks, *jobs: Job) -> list[BatchRecord]:
    """Have jobs computed that all wait when the engine starts."""
    records: list[BatchRecord] = []
    engine = Engine(networks, records.append)
    for job in jobs:
        engine.schedule.put(job)
    engine.start()
    for job in jobs:
        assert job.finished.wait(60)
    engine.stop()
    assert engine.failure is None
    return records


def test_patches_of_two_requests_in_one_batch_get_what_they_get_alone(networks):
    one, other = golden_patches()[:3], golden_patches()[1:]
    jobs = classify(one), classify(other)
    (record,) = run(networks, *jobs)
    assert (record.operation, record.rows, record.requests) == ("classify", 6, 2)
    for job, patches in zip(jobs, (one, other), strict=True):
        assert np.abs(outcome(job) - networks.default.predict(patches)).max() <= 1e-5


def test_fields_of_two_slides_in_one_batch_get_what_they_get_alone(networks):
    red_cell = np.array([0.25, 0.55, 0.4])
    jobs, alone = [], []
    for glass in ((250, 250, 250), (235, 225, 228)):
        field, _ = paint_field(160, 200, 0.58, glass=glass)
        density = relative_density(field[None], np.array(glass, float), red_cell)
        jobs.append(Job(Key("detect", shape=density.shape[1:], limit=8), density))
        alone.append(networks.detector.detect(field[None], np.array(glass, float), red_cell)[0])
    (record,) = run(networks, *jobs)
    assert record.requests == 2
    for job, expected in zip(jobs, alone, strict=True):
        (peaks,) = networks.detector.decode(outcome(job))
        assert len(peaks) == len(expected) == 4
        for one, other in zip(peaks, expected, strict=True):
            assert (one.x, one.y, one.score) == pytest.approx((other.x, other.y, other.score), 1e-4)


def test_weights_replaced_while_in_use_fail_the_request_and_nothing_else(networks):
    stale = Job(Key("classify", "", (400, 400, 3), 8), golden_patches(), "1" * 64)
    field = np.zeros((1, 3, 64, 64), np.float32)
    other = Job(Key("detect", shape=field.shape[1:], limit=8), field)
    run(networks, stale, other)
    assert isinstance(stale.error, WeightsCorrupt)
    assert other.error is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failing_device_ends_the_engine_and_every_request_may_be_sent_again(networks):
    networks.default.network.broken = True
    engine = Engine(networks)
    hit, waiting = classify(golden_patches()), classify(golden_patches())
    hit.rows = np.concatenate([golden_patches()] * 2)
    engine.schedule.put(hit)
    engine.schedule.put(waiting)
    engine.start()
    for job in (hit, waiting):
        assert job.finished.wait(60)
        assert isinstance(job.error, Closed)
    engine.stop()
    assert not engine.alive
    assert "the device is gone" in str(engine.failure)


def test_more_fields_fit_a_batch_the_smaller_they_are_and_always_one(networks):
    engine = Engine(networks)
    assert engine.limit_fields(1024, 1024) == 1
    assert engine.limit_fields(1024, 512) == 2
    assert engine.limit_fields(4096, 4096) == 1
