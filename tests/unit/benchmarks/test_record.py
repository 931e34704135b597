import pytest

from benchmarks.harness import Measured
from benchmarks.record import as_measures, describe_run, load_result, save_result


def test_a_run_says_what_was_measured_where_and_with_what():
    run = describe_run(["bench_read.py", "--rounds", "2"])
    assert run["command"] == "bench_read.py --rounds 2"
    assert run["cpus"] >= 1
    assert {"commit", "dirty", "at", "cpu", "load_before", "python"} <= run.keys()
    assert {"numpy", "imagecodecs", "openslide-bin", "torch"} <= run["versions"].keys()


@pytest.mark.parametrize(("dirty", "name"), [(False, "x-abc.json"), (True, "x-abc-dirty.json")])
def test_a_result_is_named_by_its_commit_and_read_back(dirty, name, tmp_path):
    measured = {
        "ours": Measured((1.0, 2.0), (2.0, 4.0), (0.1, 0.1)),
        "theirs": Measured((1.0,), (1.0,), (0.1,)),
    }
    result = {
        "run": {"commit": "abc", "dirty": dirty},
        "work": {"area": "2 mm²"},
        "measures": as_measures(measured, prefix="p: ", ours="ours"),
    }
    path = save_result("x", result, tmp_path)
    assert path.name == name
    assert load_result(path) == result
    ours, theirs = result["measures"]["p: ours"], result["measures"]["p: theirs"]
    assert (ours["values"], ours["cores"], ours["reference"]) == ([1.0, 2.0], 2.0, False)
    assert theirs["reference"]


def test_another_json_file_is_not_taken_for_a_result(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="not a result"):
        load_result(path)
