"""All that is found out about two calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from uniopt.cli.compare import search
from uniopt.cli.compare.calls import Call
from uniopt.cli.compare.formula import formula
from uniopt.cli.compare.runs import LATE, Apart, Runner, matrices_of, problems
from uniopt.cli.compare.switches import counts_by_leaf, differing
from uniopt.errors import ShapeError

Differing = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Pair:
    """Two calls that may be the same, and how far they get apart."""

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
        steady, changing = ([formula(tx, steady=x, dampened=False) for tx in (one, other)] for x in (True, False))
        if differing(*changing) and not differing(*steady):
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
    nearest
        The call of the second's dialect that is nearest to the first one; None if the second equals it already.
    obstacles
        The switches in which it still differs.
    without_epsilon
        If even that is not the same, a call that equals the first one with an epsilon of 0, if there is such a call.
    """

    both: Pair
    where: str
    switches: Differing
    nearest: Pair | None = None
    obstacles: Differing = field(default_factory=dict)
    without_epsilon: Pair | None = None


def compare(first: Call, second: Call, library: str, dtype: str, steps: int) -> Comparison:
    """Run two calls and look for one that makes the second equal the first."""
    one, other = first.transformation(), second.transformation()
    runner = Runner(library, dtype, problems(steps))
    where = f"{steps} steps in {dtype} on {library}"
    try:
        both = Pair(first, second, runner.apart(one, other))
    except ShapeError:
        runner = Runner(library, dtype, [matrices_of(problem) for problem in runner.problems])
        where += ", with matrices alone, since one of the two takes nothing else"
        both = Pair(first, second, runner.apart(one, other))
    different = differing(formula(one), formula(other))
    if both.confirmed:
        return Comparison(both, where, different)
    call, apart = search.nearest(first, second)
    nearest = Pair(first, call, runner.apart(one, call.transformation()))
    obstacles = differing(formula(one), formula(call.transformation())) if apart else {}
    if apart == 0 or nearest.confirmed:
        return Comparison(both, where, different, nearest, obstacles)
    pair = search.without_epsilon(first, second)
    without = pair and Pair(*pair, runner.apart(*(x.transformation() for x in pair)))
    return Comparison(both, where, different, nearest, obstacles, without)


def _agree(found: list[Apart]) -> bool:
    """Return whether there is nothing but rounding in between where all gradients are there."""
    return all(x.step is None for x in found if x.problem != LATE)
