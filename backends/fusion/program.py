"""A scheduled recording, ready to run on arrays in host memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import zip_longest
from typing import Any

import numpy as np
from uniopt.backends.dtypes import itemsize
from uniopt.backends.fusion.host import compile_turn
from uniopt.backends.fusion.layout import Strides
from uniopt.backends.fusion.loops import Pass, empty, temporaries
from uniopt.backends.fusion.memory import Memory, number_at
from uniopt.backends.fusion.schedule import Schedule, Turn
from uniopt.backends.fusion.separate import NO_PARTS, Parts
from uniopt.backends.fusion.symbol import Symbol, symbols_in

_AS_EVER = nullcontext()
_SMALL = 1 << 16  # bytes
_MOST_SCRATCH = 1 << 22


class Program:
    """Called with the inputs' arrays, it writes the outputs into their targets among them.

    Parameters
    ----------
    schedule
        What to run.
    inputs
        The symbols that the arrays stand for, in their order, and the arrays' strides.
    memory
        How the arrays lie in memory.
    parts
        The parts that can be skipped; None if it runs as a whole only.
    condition
        A 0-d boolean symbol whose value it returns.
    """

    def __init__(
        self,
        schedule: Schedule,
        inputs: Mapping[Symbol, Strides],
        memory: Memory,
        parts: Parts | None = None,
        condition: Symbol | None = None,
    ) -> None:
        self._condition = condition
        self.separable = parts is not None
        self._memory = memory
        position = {symbol: i for i, symbol in enumerate(inputs)}
        position |= {symbol: position[target] for symbol, target in schedule.aliases.items()}
        reduced = {symbol for groups in schedule.passes for group in groups for symbol in group.reductions}
        self._parts = parts = parts or NO_PARTS
        groups = {group: position[g] for group, g in parts.groups.items()}
        gathered = {symbol: {x: position[g] for x, g in args.items()} for symbol, args in parts.gathered.items()}
        calls = {x: position[g] for x, g in parts.calls.items()}
        absent = {x: (position[g], neutral) for x, (g, neutral) in parts.arrays.items()}
        self._written_by = {position[g]: [position[x] for x in xs] for g, xs in parts.targets.items()}
        scratch = _scratch(schedule)
        self._passes = [Pass(loops, position, groups, scratch) for loops in schedule.passes]
        self._absent = [
            [(x.index, *absent[x]) for group in loops for x in (*group.computed, *group.reductions) if x in absent]
            for loops in schedule.passes
        ]
        # Before the first turn writes anything: a pass takes its scalars from the values.
        asked = [] if condition is None else [condition]
        scalars = {x: None for x in (*asked, *(y for one in self._passes for y in one.arguments)) if x in position}
        turns = [
            compile_turn(
                turn, reduced | scratch.keys(), position, wanted, () if number else scalars, gathered, calls, absent
            )
            for number, (turn, wanted) in enumerate(zip(schedule.turns, self._wanted(schedule.turns), strict=True))
        ]
        self._order = list(zip_longest((turn for turn, _ in turns), self._passes, self._absent))
        viewed = sorted({i for _, used in turns for i in used})
        # To make a view of an array takes longer than to read a number.
        shapes = [symbol.shape for symbol in inputs]
        self._numbers: dict[int, Any] = {i: None for i in viewed if shapes[i] == ()}
        self._viewed = [i for i in viewed if i not in self._numbers]
        self._strides = list(inputs.values())
        self._addresses: list[int] = []
        self._where = np.empty(0, dtype=np.int64)
        length = 1 + max((symbol.index for symbol in (*position, *schedule.symbols())), default=0)
        self._values: list[Any] = [None] * length
        for symbol, memory_of_it in scratch.items():
            self._values[symbol.index] = memory_of_it

    def serves(self, missing: frozenset[int]) -> bool:
        return not missing or self._parts.serve(len(missing))

    def __call__(
        self, arrays: Sequence[Any], addresses: list[int], threads: int, missing: frozenset[int] = frozenset()
    ) -> bool | None:
        """Run on arrays that lie at those addresses; the parts of missing gradients are skipped.

        Something of the same shape stands among the arrays for a missing gradient.
        """
        view = self._memory.view
        values = self._values.copy()
        moved = addresses is not self._addresses
        if moved:
            for i, known in self._numbers.items():
                if known is None or addresses[i] != self._addresses[i]:
                    self._numbers[i] = number_at(addresses[i], view(arrays[i]).dtype)
            self._addresses = addresses
            self._where = np.array(addresses, dtype=np.int64)
        views = self._numbers | {i: view(arrays[i]) for i in self._viewed}
        for gradient in missing:
            for i in self._written_by[gradient]:
                if i in views:  # the host may write, but into nothing
                    views[i] = np.empty_like(views[i])
        for turn, loops, absent in self._order:
            if turn is not None:
                with np.errstate(all="ignore") if missing else _AS_EVER:
                    turn(values, views, missing)
            if loops is not None:
                loops.run(self._strides, self._where, values, threads, missing, moved)
                for index, gradient, neutral in absent if missing else ():
                    if gradient in missing:
                        values[index][...] = neutral
        return None if self._condition is None else bool(values[self._condition.index])

    def _wanted(self, turns: Sequence[Turn]) -> list[set[Symbol]]:
        """Return, for each turn, what passes and the other turns read, and what is returned."""
        later = {x for one in self._passes for x in (*one.arguments, *one.memories)}
        if self._condition is not None:
            later.add(self._condition)
        read = [
            {x for symbol in turn.symbols for x in symbols_in(symbol.args)} | {out.symbol for out in turn.copies}
            for turn in turns
        ]
        return [later.union(*read[number + 1 :]) for number in range(len(turns))]


def _scratch(schedule: Schedule) -> dict[Symbol, np.ndarray[Any, Any]]:
    """Return memory for small arrays that passes leave for later ones, and views of it.

    It is made once, and where it lies need not be looked up.
    """
    found: dict[Symbol, np.ndarray[Any, Any]] = {}
    left = _MOST_SCRATCH
    for groups in schedule.passes:
        alike: dict[tuple[str, int], list[Symbol]] = defaultdict(list)  # so that all can be written at once
        for symbol in (x for group in groups for x in group.reductions if x.shape != ()):
            alike[symbol.dtype, symbol.size].append(symbol)
        for symbols in (*([x] for x in temporaries(groups)), *alike.values()):
            size = symbols[0].size * itemsize(symbols[0].dtype)
            if size <= _SMALL and len(symbols) * size <= left:
                rows = empty(symbols[0].dtype, (len(symbols), symbols[0].size))
                found |= {symbol: row.reshape(symbol.shape) for symbol, row in zip(symbols, rows, strict=True)}
                left -= len(symbols) * size
    for turn in schedule.turns:
        for symbol in turn.symbols:
            if symbol.op == "reshape" and symbol.args[0] in found:
                found[symbol] = found[symbol.args[0]].reshape(symbol.shape)
    return found
