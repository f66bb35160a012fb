"""Times of two sides, measured in turn: A B A B, so that what slows the machine down slows both."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

_LEAST = 0.005  # seconds that one measurement lasts at least, by repeating the step


@dataclass(frozen=True)
class Times:
    """What one side took.

    Attributes
    ----------
    seconds
        Seconds for one step, round by round.
    steps
        Steps that each of them is the mean of.
    cores
        Processor time over wall time: how many cores were busy.
    """

    seconds: list[float]
    steps: int
    cores: float


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of the rounds, and their quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, first: Times, second: Times) -> Ratio:
        """Return the ratio of two sides that took turns."""
        return cls.of_pairs(
            [a / b for a, b in zip(first.seconds, second.seconds, strict=True)],
        )

    @classmethod
    def of_pairs(cls, ratios: list[float]) -> Ratio:
        """Return the median and quartiles of some ratios."""
        if len(ratios) == 1:
            return cls(*ratios * 3)
        lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(median, lower, upper)


def alternate(sides: list[Callable[[], object]], rounds: int, seconds: float = 0.0) -> list[Times]:
    """Return the times of each side's step, measured in turn; every side has been warmed up.

    Short rounds go on after the given number of them until so many seconds are over: what else a machine does comes in
    spells, and the rounds of a tenth of a second could all be within one.
    """
    steps = [_enough(side) for side in sides]
    taken: list[list[float]] = [[] for _ in sides]
    busy = [0.0 for _ in sides]
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while len(taken[-1]) < rounds or time.perf_counter() < end:
            for i, (side, n) in enumerate(zip(sides, steps, strict=True)):
                wall, work = _run(side, n)
                taken[i].append(wall / n)
                busy[i] += work
    finally:
        if collecting:
            gc.enable()
    return [Times(took, n, work / (n * sum(took))) for took, n, work in zip(taken, steps, busy, strict=True)]


def _enough(side: Callable[[], object]) -> int:
    """Return how many steps one measurement needs; finding out is the last of the warming up."""
    fastest = min(_run(side, 1)[0] for _ in range(3))
    return max(1, math.ceil(_LEAST / fastest))


def _run(side: Callable[[], object], steps: int) -> tuple[float, float]:
    work, wall = time.process_time(), time.perf_counter()
    for _ in range(steps):
        side()
    return time.perf_counter() - wall, time.process_time() - work
