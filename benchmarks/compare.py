"""Whether one result is slower than another, or only measured on a bad day.

python -m benchmarks.compare OLD.json NEW.json [--noise 0.10]

A change counts as real beyond the larger of `--noise` and what the spread of both files explains.
Where both hold a yardstick (bare JPEG decoding), times are taken as multiples of it, round by
round: so a slower machine is no slower program. Exits 1 if something of ours became slower, 2 if
the files cannot be compared.
"""

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.record import load_result
from benchmarks.spread import measure_spread, pair_ratios


class Verdict(StrEnum):
    """What became of a measure."""

    SLOWER = "SLOWER"
    FASTER = "faster"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Change:
    """A measure in both results.

    Attributes:
        name: of the measure.
        ratio: new over old median; above 1 is worse.
        bound: how far from 1 the ratio must lie to be real.
        reference: not ours; printed, never a regression.
    """

    name: str
    ratio: float
    bound: float
    reference: bool

    @property
    def verdict(self) -> Verdict:
        """Real beyond the bound only."""
        if self.ratio > 1 + self.bound:
            return Verdict.SLOWER
        return Verdict.FASTER if self.ratio < 1 / (1 + self.bound) else Verdict.SAME


class NotComparable(ValueError):
    """The results are of different work."""


def compare_results(
    old: Mapping[str, Any], new: Mapping[str, Any], *, noise: float
) -> list[Change]:
    """The changes of every measure both results hold, in the old one's order.

    Raises:
        NotComparable: other work, or no measure in common.
    """
    if old["work"] != new["work"]:
        raise NotComparable(f"not the same work: {old['work']} and {new['work']}")
    changes = []
    for name in old["measures"]:
        if name not in new["measures"]:
            continue
        yardstick = _shared_yardstick(old, new, name)
        before = measure_spread(_values(old, name, yardstick))
        after = measure_spread(_values(new, name, yardstick))
        bound = max(noise, math.hypot(before.relative, after.relative))
        reference = bool(new["measures"][name].get("reference"))
        changes.append(Change(name, after.median / before.median, bound, reference))
    if not changes:
        raise NotComparable("the two results have no measure in common")
    return changes


def _shared_yardstick(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> str | None:
    """The measure that both results divide `name` by, if there is one."""
    for prefix, yardstick in old.get("yardsticks", {}).items():
        both = yardstick in old["measures"] and yardstick in new["measures"]
        if name.startswith(prefix) and name != yardstick and both:
            return str(yardstick)
    return None


def _values(result: Mapping[str, Any], name: str, yardstick: str | None) -> list[float]:
    values: list[float] = result["measures"][name]["values"]
    return pair_ratios(values, result["measures"][yardstick]["values"]) if yardstick else values


def main() -> int:
    """Print every change; say by the exit code whether one is a regression."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--noise", type=float, default=0.10, help="least change that is real")
    options = parser.parse_args()
    try:
        old, new = load_result(options.old), load_result(options.new)
        changes = compare_results(old, new, noise=options.noise)
    except (OSError, ValueError) as err:
        print(err, file=sys.stderr)
        return 2
    print(f"{old['run']['commit']} → {new['run']['commit']}, new / old; above 1 is slower")
    for change in changes:
        print(
            f"  {change.name:<44} {change.ratio:6.2f}  ±{100 * change.bound:3.0f} %"
            f"  {change.verdict}{' (not ours)' if change.reference else ''}"
        )
    for name in sorted(old["measures"].keys() ^ new["measures"].keys()):
        print(f"  {name:<44} only in the {'old' if name in old['measures'] else 'new'} result")
    return int(any(c.verdict is Verdict.SLOWER and not c.reference for c in changes))


if __name__ == "__main__":
    sys.exit(main())
