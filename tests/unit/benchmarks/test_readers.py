import sys

import numpy as np
import pytest

from benchmarks.bench_read import OURS, compare_pixels, list_contestants
from benchmarks.bench_slide import judge_targets
from benchmarks.readers import RawTiles
from benchmarks.rival import Rival
from benchmarks.slides import dense_centres, sparse_centres
from worker.demo import write_demo_slide

ECHO = """
import json, sys, numpy as np
for line in sys.stdin:
    told = json.loads(line)
    if told["do"] == "open": corners = told["corners"]
    if told["do"] == "save": np.save(told["to"], np.full((len(corners), 400, 400, 3), 7, "u1"))
    if told["do"] == "read": break
    print(json.dumps({"done": told["do"]}), flush=True)
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "slide.tiff"
    return path, write_demo_slide(path, mm2=0.05, seed=1, leukocytes=12)


def test_all_readers_return_the_same_pixels(demo):
    path, truth = demo
    found = compare_pixels(list_contestants({}), path, dense_centres(truth, 9))
    assert OURS in found
    assert {name: pixels["max"] for name, pixels in found.items()} == dict.fromkeys(found, 0)


def test_centres_are_whole_px_inside_the_slide_sorted_by_y(demo):
    _, truth = demo
    for centres in (sparse_centres(truth, 5), dense_centres(truth, 9)):
        assert centres == sorted(centres, key=lambda c: c[::-1])
        for x, y in centres:
            assert x == int(x)
            assert y == int(y)
            assert 200 <= x <= truth.width - 200
            assert 200 <= y <= truth.height - 200


@pytest.mark.parametrize(
    ("centres", "tiles"),
    [
        ([(256.0, 256.0)], 1),
        ([(312.0, 312.0)], 1),
        ([(313.0, 312.0)], 2),
        ([(313.0, 313.0)], 4),
        ([(256.0, 256.0), (260.0, 250.0)], 1),
    ],
)
def test_the_raw_limit_decodes_each_touched_tile_once(demo, centres, tiles):
    raw = RawTiles(demo[0], centres)
    assert raw.count == tiles
    with raw.prepare() as decode:
        decode()


def test_a_rival_answers_over_its_pipe_and_its_end_is_noticed(demo):
    rival = Rival("echo", [sys.executable, "-c", ECHO])
    try:
        with rival.prepare_visible(demo[0], [(300.0, 300.0)]) as read:
            ((index, patch),) = read()
        assert index == 0
        assert np.all(patch == 7)
        assert rival.cpu_s() > 0
        with (
            pytest.raises(RuntimeError, match="echo ended"),
            rival.prepare(demo[0], [(300.0, 300.0)]) as read,
        ):
            list(read())
    finally:
        rival.close()


@pytest.mark.parametrize(("seconds", "words"), [(40.0, ": reached"), (40.1, ": NOT reached")])
def test_a_target_is_said_to_be_reached_or_not(seconds, words):
    measures = {"monolayer + detecting": {"unit": "s", "values": [seconds]}}
    (line,) = judge_targets(measures)
    assert line.endswith(words)
