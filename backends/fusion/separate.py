"""Which part of a program belongs to which gradient, so that a missing gradient skips its part and nothing else.

There are as many patterns of missing gradients as subsets of the leaves. One program serves them all, if each output
depends on one gradient and its parameter at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from uniopt.backends.fusion.recording import Symbol, symbols_in
from uniopt.backends.fusion.schedule import REDUCTIONS, VIEWS, Group, Output, Schedule


@dataclass(frozen=True)
class Parts:
    """The parts of a program.

    Attributes
    ----------
    groups
        For each loop, the gradient that it belongs to; loops that belong to none are left out.
    targets
        For each gradient, the inputs that its part writes to.
    """

    groups: dict[Group, Symbol]
    targets: dict[Symbol, list[Symbol]]


def separate(
    symbols: Sequence[Symbol],
    outputs: Sequence[Output],
    planned: Schedule,
    parameters: Mapping[Symbol, Symbol],
    without_gradients: Callable[[], Sequence[Output] | None],
) -> Parts | None:
    """Return the parts of a program, or None if it cannot be taken apart.

    Parameters
    ----------
    symbols
        The recording.
    outputs, planned
        What is computed, and how.
    parameters
        The parameter of each gradient.
    without_gradients
        Returns the outputs of a step in which all gradients are missing; None if there can be none.
    """
    gradients = list(parameters)
    own = {g: 1 << i for i, g in enumerate(gradients)} | {parameters[g]: 1 << i for i, g in enumerate(gradients)}
    inputs = {out.target: 1 << i for i, out in enumerate(outputs) if out.target not in own}
    needs: dict[Symbol, int] = {}  # which gradients or parameters, as bits
    reads: dict[Symbol, int] = {}  # which other inputs, as bits
    for symbol in symbols:
        args = [x for x in symbols_in(symbol.args) if x in needs]
        needs[symbol] = own.get(symbol, 0) | _union(needs[x] for x in args)
        reads[symbol] = inputs.get(symbol, 0) | _union(reads[x] for x in args)
    targets: dict[Symbol, list[Symbol]] = {g: [] for g in gradients}
    alone = None
    for i, out in enumerate(outputs):
        bits = needs[out.symbol]
        if not bits:
            # A counter goes on, and a leaf's own number does not. What several leaves read is a counter.
            readers = _union(
                needs[other.symbol] for other in outputs if reads[other.symbol] & inputs.get(out.target, 0)
            )
            if out.symbol is not out.target and readers.bit_count() < 2:
                alone = without_gradients() if alone is None else alone
                if alone is None or alone[i].symbol is alone[i].target:
                    return None
        elif bits.bit_count() > 1:
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
        if bits:
            groups[group] = gradients[bits.bit_length() - 1]
    return Parts(groups, targets)


def _union(bits: Iterable[int]) -> int:
    result = 0
    for x in bits:
        result |= x
    return result
