"""Patterns of paths: `*`, `?`, `[…]` within a name, `**` for any number of directories."""

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Final, Self

from service.contract.batch import has_wildcards

DEEP: Final = "**"

Parts = tuple[str, ...]
"""Names of a path below a directory."""


@dataclass(frozen=True)
class Pattern:
    """A pattern of absolute paths.

    Attributes:
        base: the directory below which its wildcards begin.
        names: patterns of the names below that; `**` stands for any number of them.
    """

    base: str
    names: Parts

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a pattern apart; without wildcards it names one file."""
        names = [name for name in text.split("/") if name]
        fixed = next((n for n, name in enumerate(names[:-1]) if has_wildcards(name)), None)
        cut = max(len(names) - 1, 0) if fixed is None else fixed
        return cls("/" + "/".join(names[:cut]), tuple(names[cut:]))

    def matches(self, below: Parts) -> bool:
        """Whether a path, given as names below the base, is one of the pattern's."""
        return len(self.names) in self._reached(below)

    def may_enter(self, below: Parts) -> bool:
        """Whether something of the pattern may lie in a directory below the base."""
        return any(n < len(self.names) for n in self._reached(below))

    @cached_property
    def _names(self) -> tuple[re.Pattern[str] | None, ...]:
        return tuple(None if name == DEEP else re.compile(translate(name)) for name in self.names)

    def _reached(self, below: Parts) -> set[int]:
        """How many of the pattern's names the path can have used up."""
        reached = self._skip_deep({0})
        for part in below:
            step = set()
            for n in reached:
                if n == len(self._names):
                    continue
                name = self._names[n]
                if name is None:
                    step.add(n)
                elif name.match(part):
                    step.add(n + 1)
            reached = self._skip_deep(step)
        return reached

    def _skip_deep(self, reached: set[int]) -> set[int]:
        """`**` may stand for no directory at all."""
        found = set(reached)
        for n in sorted(reached):
            while n < len(self._names) and self._names[n] is None:
                n += 1
                found.add(n)
        return found
