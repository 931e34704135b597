"""Cases measured side by side, so that a drift of the machine's speed hits all alike.

One round runs every case once; the next begins with another one. What two cases of the same round
took is compared, never the first of one with the last of another.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """Something to measure.

    Attributes:
        name: as it stands in tables and result files.
        prepare: enters what one round needs (a slide opened anew, an empty cache) and gives the
            work that is timed. Entering is timed apart, leaving is not.
        cpu_clock: CPU seconds so far of the process that does the work, all its threads together.
    """

    name: str
    prepare: Callable[[], AbstractContextManager[Work]]
    cpu_clock: Callable[[], float] = time.process_time


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case took in every round, s.

    Attributes:
        wall_s: by the wall clock.
        cpu_s: CPU time of all threads; more than the wall clock's means several were busy.
        prepare_s: wall clock of entering `prepare`, in neither of the others. Work that hides
            there shows here.
    """

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    prepare_s: tuple[float, ...]

    @property
    def cores(self) -> float:
        """How many CPUs it kept busy."""
        return sum(self.cpu_s) / sum(self.wall_s)


def run_rounds(
    cases: Sequence[Case],
    rounds: int,
    *,
    warm_up: int = 1,
    on_round: Callable[[int], None] = lambda done: None,
) -> dict[str, Measured]:
    """Run all cases in every round; rounds start with another case each.

    Args:
        cases: with distinct names.
        rounds: measured ones, at least 1.
        warm_up: rounds before them that are thrown away: imports, page cache, clock frequency.
        on_round: told the number of measured rounds done.

    Returns:
        By name, in the order of `cases`.
    """
    names = [case.name for case in cases]
    if rounds < 1 or len(set(names)) < len(names):
        raise ValueError(f"{rounds} rounds of cases named {names}: 1 round or more, no name twice")
    seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for index in range(-warm_up, rounds):
        first = index % len(cases)
        for case in (*cases[first:], *cases[:first]):
            taken = _time_once(case)
            if index >= 0:
                seconds[case.name].append(taken)
        if index >= 0:
            on_round(index + 1)
    return {name: Measured(*zip(*taken, strict=True)) for name, taken in seconds.items()}


def _time_once(case: Case) -> tuple[float, float, float]:
    """Wall and CPU seconds of the work, wall seconds of preparing it."""
    before = time.perf_counter()
    with case.prepare() as work:
        prepared = time.perf_counter() - before
        cpu = case.cpu_clock()
        wall = time.perf_counter()
        work()
        return time.perf_counter() - wall, case.cpu_clock() - cpu, prepared
