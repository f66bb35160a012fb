"""Steps with conditions: a program for each way that the conditions turn out, recorded when they first do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from uniopt.backends.fusion.program import Program

Outcomes = tuple[bool, ...]


class Branches:
    """Called with the inputs' arrays like a `Program`, it asks one condition after another, and then runs.

    Parameters
    ----------
    record
        Returns the program for conditions that have turned out in some way: one that tells how the next one does, and
        writes nothing, or the one that does the step.
    """

    separable = False

    def __init__(self, record: Callable[[Outcomes], Program]) -> None:
        self._record = record
        self._programs: dict[Outcomes, Program] = {}

    def __call__(
        self, arrays: Sequence[Any], addresses: list[int], threads: int, missing: frozenset[int] = frozenset()
    ) -> None:
        """Run on arrays that lie at those addresses."""
        outcomes: Outcomes = ()
        while True:
            if outcomes not in self._programs:
                self._programs[outcomes] = self._record(outcomes)
            answer = self._programs[outcomes](arrays, addresses, threads, missing)
            if answer is None:
                return
            outcomes = (*outcomes, answer)
