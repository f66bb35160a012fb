"""Times of two sides, measured in turn: A B A B, so that what slows the machine down slows both."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

_LEAST = 0.005  # seconds that one measurement lasts at least, by repeating the step


@dataclass(frozen=True)
class Times:
    """What one side took.

    Attributes
    ----------
    seconds
        Seconds for one step, round by round.
    processor
        Seconds of processor time that went into it, of all threads together.
    steps
        Steps that each of them is the mean of.
    """

    seconds: list[float]
    processor: list[float]
    steps: int

    @property
    def cores(self) -> float:
        """Return how many cores were busy on average."""
        return sum(self.processor) / sum(self.seconds)

    def scaled(self, factor: float) -> Times:
        """Return the times of so many steps."""
        return Times([s * factor for s in self.seconds], [s * factor for s in self.processor], self.steps)


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of the rounds, and their quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float]) -> Ratio:
        """Return the ratio of times that were measured in turn."""
        ratios = [a / b for a, b in zip(first, second, strict=True)]
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
    worked: list[list[float]] = [[] for _ in sides]
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while len(taken[-1]) < rounds or time.perf_counter() < end:
            for i, (side, n) in enumerate(zip(sides, steps, strict=True)):
                wall, work = _run(side, n)
                taken[i].append(wall / n)
                worked[i].append(work / n)
    finally:
        if collecting:
            gc.enable()
    return [Times(*times) for times in zip(taken, worked, steps, strict=True)]


def compared(first: Times, second: Times) -> dict[str, object]:
    """Return what a record says of two sides that took turns.

    The ratio of processor times is beside that of times because other work on the machine disturbs it less.
    """
    return {
        "uniopt": {**asdict(first), "cores": first.cores},
        "other": {**asdict(second), "cores": second.cores},
        "processor_ratio": asdict(Ratio.of(first.processor, second.processor)),
    }


def _enough(side: Callable[[], object]) -> int:
    """Return how many steps one measurement needs; finding out is the last of the warming up."""
    fastest = min(_run(side, 1)[0] for _ in range(3))
    return max(1, math.ceil(_LEAST / fastest))


def _run(side: Callable[[], object], steps: int) -> tuple[float, float]:
    work, wall = time.process_time(), time.perf_counter()
    for _ in range(steps):
        side()
    return time.perf_counter() - wall, time.process_time() - work
