"""The five verdicts, and how a cell comes to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from uniopt.conformance.error_unit import Place
from uniopt.conformance.tolerances import Bound


class Verdict(StrEnum):
    """What can be said of a cell.

    Attributes
    ----------
    PASS
        Within the tight bound of every oracle, and every property holds.
    INEXACT
        Within the wide bound of every oracle, outside the tight one of some.
    FAIL
        Outside a wide bound, a property does not hold, or an error was raised.
    UNSUPPORTED
        The library's own documentation lacks the data type; declared with a reason, and seen to raise the error.
    NOT_RUN
        Nothing is known: the library is not installed or finds no device. Never green.
    """

    PASS = "PASS"
    INEXACT = "INEXACT"
    FAIL = "FAIL"
    UNSUPPORTED = "UNSUPPORTED"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Comparison:
    """How far a trajectory is from an oracle's.

    Attributes
    ----------
    bound
        What was allowed, and why.
    worst
        The place of the largest difference.
    diverges
        The first place outside the tight bound, if any.
    curve
        The largest difference of each step.
    """

    bound: Bound
    worst: Place
    diverges: Place | None
    curve: tuple[float, ...]

    @classmethod
    def of(cls, differences: Iterable[Place], bound: Bound) -> Comparison:
        """Return the comparison of the largest differences, step by step, with a bound."""
        steps = list(differences)
        first = next((place for place in steps if not place.ulp <= bound.tight), None)
        return cls(bound, max(steps, key=lambda place: place.ulp), first, tuple(place.ulp for place in steps))

    @property
    def verdict(self) -> Verdict:
        """Return what this comparison alone says."""
        if self.worst.ulp <= self.bound.tight:
            return Verdict.PASS
        return Verdict.INEXACT if self.worst.ulp <= self.bound.wide else Verdict.FAIL


def judge(comparisons: Iterable[Comparison], properties: Mapping[str, str]) -> Verdict:
    """Return the verdict of a cell that has run.

    Parameters
    ----------
    comparisons
        One for each oracle.
    properties
        What is wrong, by property; the empty string where it holds.
    """
    verdicts = {comparison.verdict for comparison in comparisons}
    if not verdicts or Verdict.FAIL in verdicts or any(properties.values()):
        return Verdict.FAIL  # a cell that was compared with nothing shows nothing
    return Verdict.INEXACT if Verdict.INEXACT in verdicts else Verdict.PASS
