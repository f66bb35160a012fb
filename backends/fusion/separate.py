"""Which part of a program belongs to which gradient, so that a missing gradient skips its part and nothing else.

There are as many patterns of missing gradients as subsets of the leaves. One program serves them all, if each output
depends on one gradient and its parameter at most, and on numbers that are gathered from all leaves: a sum of numbers of
theirs, such as a global norm, is the sum of those that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from uniopt.backends.fusion.gathered import Gathered, are_alike, gather
from uniopt.backends.fusion.recording import Recording
from uniopt.backends.fusion.schedule import REDUCTIONS, VIEWS, Group, Output, Schedule
from uniopt.backends.fusion.symbol import Symbol


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a program.

    Attributes
    ----------
    groups
        For each loop, the gradient that it belongs to; loops that belong to none are left out.
    targets
        For each gradient, the inputs that its part writes to.
    numbers
        For each operation that gathers numbers, those of its arguments that are of one leaf's part, and its gradient.
    own
        For each number that is computed of one leaf, its gradient.
    is_without
        Returns whether steps with missing gradients are this one without their parts.
    """

    groups: dict[Group, Symbol]
    targets: dict[Symbol, list[Symbol]]
    numbers: dict[Symbol, dict[Symbol, Symbol]]
    own: dict[Symbol, Symbol]
    is_without: Callable[[], bool]

    def serve(self, missing: int) -> bool:
        """Return whether the program can run without so many parts: what is gathered of none at all is no number."""
        return (not self.numbers or missing < len(self.targets)) and self.is_without()


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


def separate(plan: Plan, without: Callable[[Iterable[int]], Plan | None]) -> Parts | None:
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
    planned, outputs = plan.planned, plan.results
    needs = found.needs
    targets: dict[Symbol, list[Symbol]] = {g: [] for g in gradients}
    alone = None
    for i, out in enumerate(outputs):
        bits = needs[out.symbol]
        if not bits:
            # A counter goes on, and a leaf's own number does not. What several leaves read is a counter.
            readers = _union(needs[other.symbol] for other in outputs if found.reads(other, out.target))
            if out.symbol is not out.target and readers.bit_count() < 2 and out.symbol not in found.shared:
                alone = without(range(len(gradients))) if alone is None else alone
                if alone is None or alone.results[i].symbol is alone.results[i].target:
                    return None
        else:
            targets[gradients[bits.bit_length() - 1]].append(out.target)
    # The host does its work whether a part is skipped or not, so that it must be next to none.
    if any(
        symbol.shape != () and 0 not in symbol.shape and needs[symbol] and symbol.op not in (*REDUCTIONS, *VIEWS)
        for turn in planned.turns
        for symbol in turn.symbols
    ):
        return None
    groups = {}
    for group in (group for groups in planned.passes for group in groups):
        bits = _union(needs[x] for x in (*group.computed, *group.stored_in, *group.reductions))
        if bits.bit_count() > 1:
            return None
        if bits and any(not needs[what] for what, memory in group.stores if memory is not what):
            return None  # the leaf's state is reset, whether or not it has a gradient
        if bits:
            groups[group] = gradients[bits.bit_length() - 1]
    own = {x: gradients[bits.bit_length() - 1] for x, bits in needs.items() if bits and x.shape == ()}
    numbers = {symbol: {x: own[x] for x in args} for symbol, args in found.numbers.items()}
    return Parts(groups, targets, numbers, own, cache(partial(_agrees, plan, found, without)))


def _agrees(plan: Plan, found: Gathered, without: Callable[[Iterable[int]], Plan | None]) -> bool:
    """Return whether steps with missing gradients are this one without their parts, so that none counts its leaves.

    Of all patterns, those without one gradient, of each kind, are looked at, and those with every other one.
    """
    kinds = {(g.shape, g.dtype): i for i, g in enumerate(plan.parameters)}
    halves = [range(start, len(plan.parameters), 2) for start in (0, 1)] if len(plan.parameters) > 1 else []
    for missing in (*([i] for i in kinds.values()), *halves):
        bits = sum(1 << i for i in missing)
        other = without(missing)
        less = None if other is None else gather(other.made.symbols, other.results, other.parameters)
        if other is None or less is None or not are_alike(found, plan.results, less, other.results, missing=bits):
            return False
    return True


def _union(bits: Iterable[int]) -> int:
    result = 0
    for x in bits:
        result |= x
    return result
