import json
import sys

import pytest

from benchmarks.compare import NotComparable, Verdict, compare_results, main


def result(work="w", yardsticks=None, **measures):
    references = {"raw"}
    return {
        "run": {"commit": "abc"},
        "work": {"slide": work},
        "measures": {
            name: {"unit": "s", "values": values, "reference": name in references}
            for name, values in measures.items()
        },
        "yardsticks": yardsticks or {},
    }


def verdict(old, new, noise=0.10):
    (change,) = compare_results(result(a=old), result(a=new), noise=noise)
    return change.verdict


@pytest.mark.parametrize(
    ("new", "expected"),
    [(1.10, Verdict.SAME), (1.11, Verdict.SLOWER), (0.92, Verdict.SAME), (0.90, Verdict.FASTER)],
)
def test_a_change_is_real_only_beyond_the_noise(new, expected):
    assert verdict([1.0] * 3, [new] * 3) is expected


def test_what_the_spread_explains_is_no_change():
    restless = [1.0, 1.6, 0.7, 1.4, 1.2]
    assert verdict([1.0] * 5, [1.2] * 5) is Verdict.SLOWER
    assert verdict([1.0] * 5, restless) is Verdict.SAME


def test_a_slower_machine_is_no_slower_program():
    old = result(a=[1.0, 1.0], raw=[0.5, 0.5], yardsticks={"": "raw"})
    new = result(a=[2.0, 3.0], raw=[1.0, 1.5], yardsticks={"": "raw"})
    of_a, of_raw = compare_results(old, new, noise=0.1)
    assert of_a.ratio == 1.0
    assert of_raw.ratio == 2.5


def test_results_of_different_work_are_not_compared():
    with pytest.raises(NotComparable, match="same work"):
        compare_results(result(a=[1.0]), result(work="other", a=[1.0]), noise=0.1)


def test_results_without_a_common_measure_are_not_compared():
    with pytest.raises(NotComparable, match="in common"):
        compare_results(result(a=[1.0]), result(b=[1.0]), noise=0.1)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (result(a=[1.0]), result(a=[1.0]), 0),
        (result(a=[1.0]), result(a=[0.5]), 0),
        (result(a=[1.0]), result(a=[2.0]), 1),
        (result(raw=[1.0]), result(raw=[2.0]), 0),
        (result(a=[1.0]), result(b=[1.0]), 2),
        (result(a=[1.0]), {"not": "a result"}, 2),
    ],
)
def test_the_exit_code_says_whether_ours_became_slower(
    old, new, code, tmp_path, monkeypatch, capsys
):
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, content in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(content))
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, paths)])
    assert main() == code
    assert any(capsys.readouterr())
