"""All that is found out about two calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uniopt.cli.compare import search
from uniopt.cli.compare.calls import Call
from uniopt.cli.compare.formula import formula
from uniopt.cli.compare.runs import LATE, Apart, Runner, matrices_of, problems
from uniopt.cli.compare.switches import counts_by_leaf, differing
from uniopt.errors import ShapeError

Differing = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Equal:
    """A call that has the switches of another one, and how far the two get apart."""

    wanted: Call
    call: Call
    apart: list[Apart]

    @property
    def confirmed(self) -> bool:
        """Return whether the two take the same steps, but for rounding."""
        return _agree(self.apart)

    def conditions(self) -> list[str]:
        """Return where the two would differ nevertheless."""
        one, other = self.wanted.transformation(), self.call.transformation()
        found = []
        forms = [formula(tx, steady=False, dampened=False) for tx in (one, other)]
        if differing(*forms):
            found.append("the learning rate changes, since only one of them has it inside the momentum")
        if counts_by_leaf(one) != counts_by_leaf(other) and any(x.step for x in self.apart if x.problem == LATE):
            counting = self.wanted if counts_by_leaf(one) else self.call
            found.append(f"gradients are None, since {counting.dialect} counts the steps of each leaf by itself")
        return found


@dataclass(frozen=True)
class Comparison:
    """What is found out about two calls.

    Attributes
    ----------
    both
        The calls as they are, and how far they get apart.
    where
        How they were run.
    switches
        The switches that differ.
    equal
        A call that makes the second one equal the first; None if there is none, or none is needed.
    nearest, obstacles
        If there is none, the nearest call of the second's dialect, and the switches in which it differs.
    without_epsilon
        If there is none, a call that equals the first one with an epsilon of 0, if there is such a call.
    """

    both: Equal
    where: str
    switches: Differing
    equal: Equal | None = None
    nearest: Call | None = None
    obstacles: Differing | None = None
    without_epsilon: Equal | None = None


def compare(first: Call, second: Call, library: str, dtype: str, steps: int) -> Comparison:
    """Run two calls and look for one that makes the second equal the first."""
    one, other = first.transformation(), second.transformation()
    runner = Runner(library, dtype, problems(steps))
    where = f"{steps} steps in {dtype} on {library}"
    try:
        both = Equal(first, second, runner.apart(one, other))
    except ShapeError:
        runner = Runner(library, dtype, [matrices_of(problem) for problem in runner.problems])
        where += ", with matrices alone, since one of the two takes nothing else"
        both = Equal(first, second, runner.apart(one, other))
    different = differing(formula(one), formula(other))
    if both.confirmed:
        return Comparison(both, where, different)
    call, apart = search.nearest(first, second)
    if apart == 0:
        equal = Equal(first, call, runner.apart(one, call.transformation()))
        return Comparison(both, where, different, equal=equal)
    pair = search.without_epsilon(first, second)
    return Comparison(
        both,
        where,
        different,
        nearest=call,
        obstacles=differing(formula(one), formula(call.transformation())),
        without_epsilon=pair and Equal(*pair, runner.apart(*(x.transformation() for x in pair))),
    )


def _agree(found: list[Apart]) -> bool:
    """Return whether there is nothing but rounding in between where all gradients are there."""
    return all(x.step is None for x in found if x.problem != LATE)
