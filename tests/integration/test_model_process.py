"""Slides scanned with networks in another process, and what that process survives."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from models.catalogue import DEFAULT_DETECTOR
from models.golden import golden_patches
from models.saliency import saliency_maps
from service.contract.failure import AnalysisError, FailureCode
from service.contract.scan import Stage
from tests.integration.model_scan import scan
from tests.model_process import ROOT, START_S, ModelProcess
from tests.smears import paint_field
from worker.demo import write_demo_slide
from worker.inference import LocalPredictor
from worker.model.client import (
    RemotePredictor,
    encode_saliency,
    fetch_saliency,
    fetch_stats,
    ping,
)
from worker.model.connection import Connection
from worker.model.wire import PROTOCOL, Classify, Hello

pytestmark = pytest.mark.integration

TOLERANCE = 1e-5
"""Of a probability, float32 on a CPU: rows are the same to rounding whatever batch they are in."""


@pytest.fixture(scope="module")
def process(tmp_path_factory) -> Iterator[ModelProcess]:
    process = ModelProcess(tmp_path_factory.mktemp("data"))
    yield process.await_ready()
    process.close()


@pytest.fixture(scope="module")
def fragile(tmp_path_factory) -> Iterator[ModelProcess]:
    """One that is killed now and then."""
    process = ModelProcess(tmp_path_factory.mktemp("data"))
    yield process.await_ready()
    process.close()


@pytest.fixture(scope="module")
def local() -> LocalPredictor:
    return LocalPredictor.load(device="cpu")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "smear.tiff"
    write_demo_slide(path, mm2=0.1, seed=3, leukocytes=90)
    return path


@pytest.fixture(scope="module")
def undisturbed(demo, local) -> list[dict[str, object]]:
    return cells_of(scan(demo, local))


def cells_of(results):
    return [cell.model_dump(mode="json") for cell in results.cells]


def same_cells(found, expected) -> bool:
    """The same cells at the same places with probabilities within the tolerance."""
    numbers = ("p_blast", "p_atypical")
    assert [c["id"] for c in found] == [c["id"] for c in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=TOLERANCE)
        assert [one[n] for n in numbers] == pytest.approx([other[n] for n in numbers], abs=1e-4)
        left = {k: v for k, v in one.items() if k not in ("probabilities", *numbers)}
        assert left == {k: other[k] for k in left}
    return True


def test_a_scan_with_remote_networks_gives_the_cells_of_a_local_one(process, demo, undisturbed):
    with RemotePredictor(process.address) as remote:
        found = cells_of(scan(demo, remote))
    assert len(found) > 50
    assert same_cells(found, undisturbed)


def test_cards_probabilities_and_peaks_are_those_of_the_local_networks(process, local):
    patches = np.concatenate([golden_patches()] * 5)
    field, planted = paint_field(300, 405, 0.58)
    fields = np.stack([field, field[::-1]])
    glass, red_cell = np.array([250.0, 250.0, 250.0]), np.array([0.25, 0.55, 0.4])
    with RemotePredictor(process.address) as remote:
        assert remote.classifier.card == local.classifier.card
        assert remote.detector.card == local.detector.card
        found = remote.classifier.predict(patches)
        peaks = remote.detector.detect(fields, glass, red_cell)
        assert remote.classifier.predict(patches[:0]).shape == (0, 15)
        assert remote.detector.detect(fields[:0], glass, red_cell) == []
        (inner,) = remote.detector.detect(fields[:1, 20:], glass, red_cell, rim_px=80)
    assert found.dtype == np.float32
    assert np.abs(found - local.classifier.predict(patches)).max() <= TOLERANCE
    assert [round(one.y, -1) for one in inner] == [190, 190]  # not those at 70
    expected = local.detector.detect(fields, glass, red_cell)
    assert [len(p) for p in peaks] == [len(planted)] * 2
    for one, other in zip(peaks[0] + peaks[1], expected[0] + expected[1], strict=True):
        assert (one.x, one.y, one.diameter_um, one.score) == pytest.approx(
            (other.x, other.y, other.diameter_um, other.score), abs=1e-3
        )


def test_more_patches_than_fit_the_shared_memory_are_sent_in_parts(process, local):
    patches = np.concatenate([golden_patches()] * 37)
    with RemotePredictor(process.address) as remote:
        found = remote.classifier.predict(patches)
    once = local.classifier.predict(golden_patches())
    assert np.abs(found - np.concatenate([once] * 37)).max() <= TOLERANCE


def test_two_slide_processes_at_once_get_the_cells_they_would_get_alone(process, demo, undisturbed):
    command = [sys.executable, "-m", "tests.integration.model_scan", demo, process.address]
    scans = [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for each in scans:
        out, _ = each.communicate(timeout=300)
        assert each.returncode == 0
        assert same_cells(json.loads(out), undisturbed)


def test_a_scan_outlives_the_model_process_and_its_cells_are_the_same(fragile, demo, undisturbed):
    killed = set()

    def kill_once(stage: Stage, done: int, total: int) -> None:
        if stage in (Stage.DETECTING, Stage.CLASSIFYING) and done and stage not in killed:
            killed.add(stage)
            fragile.kill()
            fragile.start()

    with RemotePredictor(fragile.address, patience_s=START_S) as remote:
        found = cells_of(scan(demo, remote, kill_once))
    assert len(killed) == 2
    assert same_cells(found, undisturbed)


def test_a_request_that_is_being_computed_when_the_process_is_killed_is_sent_again(local, fragile):
    patches = np.concatenate([golden_patches()] * 30)
    found = []
    with RemotePredictor(fragile.address, patience_s=START_S) as remote:
        before = fetch_stats(fragile.address).operations
        thread = Thread(target=lambda: found.append(remote.classifier.predict(patches)))
        thread.start()
        while fetch_stats(fragile.address).operations == before:
            pass
        fragile.kill()
        fragile.start()
        thread.join()
    once = local.classifier.predict(golden_patches())
    assert np.abs(found[0] - np.concatenate([once] * 30)).max() <= TOLERANCE


def test_an_unknown_classifier_is_model_unavailable_and_names_what_there_is(process):
    with pytest.raises(AnalysisError, match="efficientnet-lite0-224") as caught:
        RemotePredictor(process.address, "no-such-weights")
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE
    assert ping(process.address)


def test_a_detector_is_no_classifier(process):
    with pytest.raises(AnalysisError, match=r"card\.json") as caught:
        RemotePredictor(process.address, DEFAULT_DETECTOR)
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE


def test_a_classifier_named_by_a_scan_is_used(process):
    with RemotePredictor(process.address, "efficientnet-lite0-224") as remote:
        assert remote.classifier.card.name == "efficientnet-lite0-224"


def test_saliency_is_that_of_the_local_network_and_becomes_a_picture(process, local):
    patch = golden_patches()[2]
    found = fetch_saliency(process.address, patch)
    expected = saliency_maps(local.classifier, patch[None])[0]
    assert np.abs(found - expected).max() <= 1e-3 * expected.max()
    assert encode_saliency(patch, found).startswith(b"\x89PNG")


def test_only_its_user_may_connect(process):
    assert stat.S_IMODE(process.address.stat().st_mode) == 0o600


def test_stats_count_what_was_computed(process):
    before = fetch_stats(process.address).operations["classify"]
    with RemotePredictor(process.address) as remote:
        remote.classifier.predict(np.concatenate([golden_patches()] * 3))
    after = fetch_stats(process.address).operations["classify"]
    assert after.rows == before.rows + 12
    assert after.batches == before.batches + 2
    assert after.batch_rows[8] == before.batch_rows[8] + 1
    assert after.busy_s > before.busy_s


def held_by(process: ModelProcess) -> tuple[int, int, set[str]]:
    """Descriptors and shared mappings of a process, and what lies in /dev/shm."""
    proc = Path("/proc", str(process.pid))
    shared = (proc / "maps").read_text().count("smearscan-pixels")
    names = {path.name for path in Path("/dev/shm").iterdir()}
    return len(list((proc / "fd").iterdir())), shared, names


def test_connections_leave_nothing_behind_however_they_end(process):
    before = held_by(process)
    for i in range(40):
        connection = Connection(process.address, silence_s=60)
        connection.exchange(Hello(protocol=PROTOCOL, classifier=None))
        connection._share(golden_patches())
        connection._send(Classify(count=1))
        if i % 2:
            connection._receive()
        connection.close()
    deadline = time.monotonic() + 60
    while fetch_stats(process.address).connections > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    while (after := held_by(process)) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert after[:2] == before[:2] == (before[0], 0)
    assert not {name for name in after[2] - before[2] if "smearscan" in name}


def test_a_slide_process_that_is_killed_leaves_nothing_behind(process):
    before = held_by(process)
    code = """
import sys, numpy as np
from pathlib import Path
from worker.model.client import RemotePredictor
remote = RemotePredictor(Path(sys.argv[1]))
remote.classifier.predict(np.zeros((1, 400, 400, 3), np.uint8))
print("sent", flush=True)
sys.stdin.read()
"""
    client = subprocess.Popen(
        [sys.executable, "-c", code, process.address],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdout.readline() == b"sent\n"
    assert held_by(process)[1] == 1
    client.kill()
    client.communicate()
    deadline = time.monotonic() + 60
    while (after := held_by(process)[:2]) != before[:2] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert after == before[:2]


def test_sigterm_ends_it_with_0_and_removes_the_socket(tmp_path):
    process = ModelProcess(tmp_path).await_ready()
    with RemotePredictor(process.address) as remote:
        process.signal(signal.SIGTERM)
        assert process.wait() == (0, "")
        assert not process.address.exists()
        remote.close()
    process.close()


def test_weights_that_cannot_be_loaded_are_a_line_and_exit_code_1(tmp_path):
    process = ModelProcess(tmp_path, SMEARSCAN_MODEL="no-such-weights")
    code, errors = process.wait()
    process.close()
    assert code == 1
    assert errors.startswith("model_unavailable: no weights called 'no-such-weights'")
    assert len(errors.splitlines()) == 1


def test_a_second_process_at_the_same_address_is_refused(process):
    second = ModelProcess(process.root.path)
    code, errors = second.wait()
    assert code == 1
    assert "another process answers" in errors
    assert ping(process.address)
