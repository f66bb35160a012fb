"""Which part of a program belongs to which gradient, so that a missing gradient skips its part and nothing else.

There are as many patterns of missing gradients as subsets of the leaves. One program serves them all, if each output
depends on one gradient and its parameter at most, and on what is gathered from all leaves: a sum of numbers of theirs,
such as a global norm, is the sum of those that are there, and so is a sum of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from uniopt.backends.fusion.gathered import Gathered, are_alike, gather
from uniopt.backends.fusion.recording import Recording
from uniopt.backends.fusion.schedule import REDUCTIONS, VIEWS, Group, Output, Schedule
from uniopt.backends.fusion.scheduler import schedule
from uniopt.backends.fusion.symbol import Symbol


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a program.

    Attributes
    ----------
    schedule
        The program, with all that is gathered in memory of its own.
    groups
        For each loop, the gradient that it belongs to; loops that belong to none are left out.
    targets
        For each gradient, the inputs that its part writes to.
    calls
        For each array that no loop computes, but a function of the library, the gradient that it belongs to.
    gathered
        For each operation that gathers, those of its arguments that are of one leaf's part, and its gradient.
    arrays
        For each array that is gathered, its gradient, and what is to be in its place without it.
    numbers_of
        For each number that is computed of one leaf, its gradient.
    is_without
        Returns whether steps with missing gradients are this one without their parts.
    """

    schedule: Schedule
    groups: dict[Group, Symbol]
    targets: dict[Symbol, list[Symbol]]
    calls: dict[Symbol, Symbol]
    gathered: dict[Symbol, dict[Symbol, Symbol]]
    arrays: dict[Symbol, tuple[Symbol, float | bool]]
    numbers_of: dict[Symbol, Symbol]
    is_without: Callable[[], bool]

    def serve(self, missing: int) -> bool:
        """Return whether the program can run without so many parts; without all, a rule may do something else."""
        return missing < len(self.targets) and self.is_without()


NO_PARTS = Parts(Schedule([], [], {}, [], []), {}, {}, {}, {}, {}, {}, lambda: False)
"""Those of a program that runs as a whole only."""


class Plan(NamedTuple):
    """A recording, its inputs and outputs, its schedule, and the condition that it asks for instead of outputs."""

    made: Recording
    kept: list[Symbol]
    targets: list[Symbol]
    parameters: dict[Symbol, Symbol]
    """The parameter of each gradient."""
    outputs: list[Output]
    planned: Schedule
    asked: Symbol | None = None

    @property
    def inputs(self) -> list[Symbol]:
        """Return all inputs, in the order of a binding's arrays."""
        return [*self.kept, *(symbol for _, symbol in self.made.captured), *self.targets]

    @property
    def results(self) -> list[Output]:
        """Return the outputs, or what is asked for."""
        return self.outputs if self.asked is None else [Output(self.asked, self.asked)]


Without = Callable[[Iterable[int]], Plan | None]


def separate(plan: Plan, without: Without) -> Parts | None:
    """Return the parts of a program, or None if it cannot be taken apart.

    Parameters
    ----------
    plan
        What is computed, and how.
    without
        Returns the plan of the step in which gradients are missing, by their numbers in `parameters`; None if there can
        be none.
    """
    gradients = list(plan.parameters)
    found = gather(plan.made.symbols, plan.results, plan.parameters)
    if found is None or (plan.asked is not None and found.needs[plan.asked]):
        return None
    if not _attribute(found, plan.results, len(gradients), without):
        return None
    needs = found.needs
    targets: dict[Symbol, list[Symbol]] = {g: [] for g in gradients}
    for out in plan.results:
        if bits := found.part(out):
            targets[_of(bits, gradients)].append(out.target)
    arrays = found.arrays()
    if arrays is None:
        return None
    planned = schedule(plan.made, plan.outputs, [] if plan.asked is None else [plan.asked], found)
    loops = [group for groups in planned.passes for group in groups]
    made = {x for group in loops for x in (*group.computed, *group.reductions)}
    made |= {x for turn in planned.turns for x in turn.symbols if x.op not in VIEWS}
    if not arrays.keys() <= made:  # an input itself, or a view, which would be overwritten
        return None
    groups = {group: _of(bits, gradients) for group in loops if (bits := found.of(group))}
    calls = {
        x: _of(needs[x], gradients)
        for turn in planned.turns
        for x in turn.symbols
        if needs[x] and x.shape != () and x.op not in (*REDUCTIONS, *VIEWS)
    }
    numbers_of = {x: _of(bits, gradients) for x, bits in needs.items() if bits and x.shape == ()}
    gathered = {symbol: {x: _of(needs[x], gradients) for x in args} for symbol, args in found.gathered.items()}
    absent = {x: (_of(needs[x], gradients), neutral) for x, neutral in arrays.items()}
    agrees = cache(partial(_agrees, plan, found, without))
    return Parts(planned, groups, targets, calls, gathered, absent, numbers_of, agrees)


def _attribute(found: Gathered, outputs: Sequence[Output], number: int, without: Without) -> bool:
    """Find out which outputs belong to a part with no need of its gradient; return whether that could be told.

    A counter goes on whatever is missing, and a leaf's own number does not. What several leaves read is a counter.
    """
    unread = []
    halves: list[Plan | None] = []
    for i, out in enumerate(outputs):
        if found.needs[out.symbol] or _is_kept(out):
            continue
        readers = _union(found.needs[other.symbol] for other in outputs if found.reads(other, out.target))
        if readers.bit_count() > 1:
            continue
        halves = halves or [without(range(start, number, 2)) for start in (0, 1)]
        kept = [plan is not None and _is_kept(plan.results[i]) for plan in halves]
        if readers and kept[(readers.bit_length() - 1) % 2]:
            found.own[out.target] = readers
        elif any(kept):
            unread.append(i)
    # A leaf without elements reads nothing. Which one it is is told by steps without all gradients whose numbers, from
    # 1 on, have some binary digit.
    digits = [
        without(k for k in range(number) if (k + 1) >> digit & 1)
        for digit in range(number.bit_length() if unread else 0)
    ]
    for i in unread:
        leaf = sum(1 << digit for digit, plan in enumerate(digits) if plan is not None and _is_kept(plan.results[i]))
        if not 0 < leaf <= number:
            return False
        found.own[outputs[i].target] = 1 << (leaf - 1)
    return True


def _is_kept(out: Output) -> bool:
    return out.symbol is out.target


def _agrees(plan: Plan, found: Gathered, without: Without) -> bool:
    """Return whether steps with missing gradients are this one without their parts, so that none counts its leaves.

    Of all patterns, those without one gradient, of each kind, are looked at, those with every other one, and those with
    the first or the last one alone that has elements.
    """
    every = range(len(plan.parameters))
    kinds = {(g.shape, g.dtype): i for i, g in enumerate(plan.parameters)}
    full = [i for i, g in enumerate(plan.parameters) if 0 not in g.shape]
    alone = [(*every[:i], *every[i + 1 :]) for i in (*full[:1], *full[-1:])]
    patterns = dict.fromkeys([*((i,) for i in kinds.values()), tuple(every[::2]), tuple(every[1::2]), *alone])
    for missing in patterns if len(every) > 1 else ():
        bits = sum(1 << i for i in missing)
        other = without(missing)
        less = None if other is None else gather(other.made.symbols, other.results, other.parameters)
        if other is None or less is None or not are_alike(found, plan.results, less, other.results, missing=bits):
            return False
    return True


def _of(bits: int, gradients: Sequence[Symbol]) -> Symbol:
    return gradients[bits.bit_length() - 1]


def _union(bits: Iterable[int]) -> int:
    result = 0
    for x in bits:
        result |= x
    return result
