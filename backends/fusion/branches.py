"""Steps with conditions: a program for each way that the conditions turn out, recorded when they first do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from uniopt.backends.fusion.program import Program

Outcomes = tuple[bool, ...]

_MOST_PROGRAMS = 32
_NONE: frozenset[int] = frozenset()


class Branches:
    """Called with the inputs' arrays like a `Program`, it asks one condition after another, and then runs.

    Parameters
    ----------
    record
        Returns the program for conditions that have turned out in some way, and for missing gradients, or for any ones
        if these are None: one that tells how the next one does, and writes nothing, or the one that does the step.
    """

    separable = True

    def __init__(self, record: Callable[[Outcomes, frozenset[int] | None], Program]) -> None:
        self._record = record
        self._programs: dict[tuple[Outcomes, frozenset[int] | None], Program] = {}

    def serves(self, missing: frozenset[int]) -> bool:
        return True

    def __call__(
        self, arrays: Sequence[Any], addresses: list[int], threads: int, missing: frozenset[int] = frozenset()
    ) -> None:
        """Run on arrays that lie at those addresses."""
        outcomes: Outcomes = ()
        while True:
            for without in (None, missing) if missing else (_NONE,):
                program = self._program(outcomes, without)
                if program.serves(missing):
                    break
            answer = program(arrays, addresses, threads, missing if program.separable else _NONE)
            if answer is None:
                return
            outcomes = (*outcomes, answer)

    def _program(self, outcomes: Outcomes, without: frozenset[int] | None) -> Program:
        if (outcomes, without) not in self._programs:
            if len(self._programs) >= _MOST_PROGRAMS:  # of patterns of missing gradients there is no end
                del self._programs[next(iter(self._programs))]
            self._programs[outcomes, without] = self._record(outcomes, without)
        return self._programs[outcomes, without]
