"""A scheduled recording, ready to run on arrays in a device's memory, without ever waiting for the device.

Kernels read the numbers they need from the device's memory, where other kernels have left them: a turn's 0-d symbols
are loops over one element. What kernels do not have, the library on the device does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from uniopt.backends.dtypes import itemsize
from uniopt.backends.fusion.gathered import NEUTRAL
from uniopt.backends.fusion.layout import Strides, contiguous
from uniopt.backends.fusion.library import Calls, check, empty, evaluate, memory_dtype, number
from uniopt.backends.fusion.memory import Memory
from uniopt.backends.fusion.schedule import Schedule, overtaken
from uniopt.backends.fusion.scratch import Device, Scratch
from uniopt.backends.fusion.segment import FIRST_SLOT, Loop, Segment, Wave
from uniopt.backends.fusion.separate import NO_PARTS, Parts
from uniopt.backends.fusion.symbol import Symbol
from uniopt.backends.fusion.turns import cut, is_constant, keep_numbers

_ALIGNMENT = 256


class DeviceProgram:
    """Called with the inputs' arrays, it writes the outputs into their targets among them.

    Parameters
    ----------
    schedule
        What to run.
    inputs
        The symbols that the arrays stand for, in their order, and the arrays' strides.
    memory
        How the arrays lie in memory; its views are arrays of the device's library.
    parts
        The parts that can be skipped; None if it runs as a whole only.
    device
        Where to run.
    """

    def __init__(
        self,
        schedule: Schedule,
        inputs: Mapping[Symbol, Strides],
        memory: Memory,
        parts: Parts | None,
        *,
        device: Device,
    ) -> None:
        self._parts = known = parts or NO_PARTS
        self._memory = memory
        self._device = device
        self._position = {symbol: i for i, symbol in enumerate(inputs)}
        self._position |= {symbol: self._position[target] for symbol, target in schedule.aliases.items()}
        gathered = {symbol: {x: self._position[g] for x, g in args.items()} for symbol, args in known.gathered.items()}
        self._calls = {x: self._position[g] for x, g in known.calls.items()}
        steps = _steps(schedule, known, self._position, gathered)
        calls = [symbol for step in steps if isinstance(step, Calls) for symbol in step.symbols]
        for symbol in calls:
            check(device.xp, symbol)
        self._slots = {symbol: FIRST_SLOT + i for symbol, i in self._position.items()}
        strides = list(inputs.values())
        self._strides = {symbol: strides[i] for symbol, i in self._position.items()}
        self._scratch: dict[Symbol, int] = {}
        size = 0
        for symbol in _in_scratch(steps):
            self._slots[symbol] = FIRST_SLOT + len(inputs) + len(self._scratch)
            self._strides[symbol] = contiguous(symbol.shape, itemsize(symbol.dtype))
            self._scratch[symbol] = size
            size += -(-symbol.size * itemsize(symbol.dtype) // _ALIGNMENT) * _ALIGNMENT
        self._size = size
        self._memory_between = Scratch(device)
        self._offsets = np.array(list(self._scratch.values()), dtype=np.int64)
        # What a missing gradient would be gathered from: memory that no loop writes to then.
        neutral = {(x, i, NEUTRAL[symbol.op]) for symbol, args in gathered.items() for x, i in args.items()}
        self._neutral = {x: (i, y) for x, i, y in neutral}
        called = set(calls)
        written = {x: loop.part for loop in _loops(steps) for x in (*loop.group.computed, *loop.group.reductions)}
        self.separable = (
            parts is not None
            and len(neutral) == len(self._neutral)
            and all(
                x in called or (x in self._scratch and written.get(x) == part) for x, (part, _) in self._neutral.items()
            )
        )
        first = FIRST_SLOT + len(inputs) + len(self._scratch)
        self._slots |= {symbol: first + i for i, symbol in enumerate(calls)}
        self._steps = [Segment(step, device) if isinstance(step, list) else step for step in steps]

    def serves(self, missing: frozenset[int]) -> bool:
        return not missing or (self.separable and self._parts.serve(len(missing)))

    def __call__(
        self, arrays: Sequence[Any], addresses: list[int], threads: int, missing: frozenset[int] = frozenset()
    ) -> None:
        """Run on arrays that lie at those addresses; the parts of missing gradients are skipped."""
        scratch = self._memory_between.of(self._size)
        where = np.zeros(FIRST_SLOT + len(self._slots), dtype=np.int64)
        where[FIRST_SLOT : FIRST_SLOT + len(addresses)] = addresses
        first = FIRST_SLOT + len(addresses)
        where[first : first + len(self._offsets)] = self._device.address(scratch) + self._offsets
        values: dict[Symbol, Any] = {}

        def value(x: Any) -> Any:
            """Return the library's array (or number) for what a call is given."""
            if isinstance(x, tuple):
                return tuple(map(value, x))
            if not isinstance(x, Symbol):
                return x
            if x not in values:
                values[x] = number(x) if is_constant(x) else self._view(x, arrays, scratch)
            return values[x]

        neutral = {x: y for x, (part, y) in self._neutral.items() if part in missing}
        for symbol, y in neutral.items():
            if symbol in self._scratch:
                value(symbol)[...] = y
        for step in self._steps:
            if isinstance(step, Segment):
                step.run(where, self._slots, self._strides, missing)
                continue
            for symbol in step.symbols:
                is_missing = missing and self._calls.get(symbol) in missing
                # Unless it is known by now how a result lies in memory, there has to be one.
                if is_missing and symbol in self._strides:
                    found = empty(self._device.xp, symbol)
                else:
                    found = evaluate(self._device.xp, symbol, value)
                if symbol in neutral:
                    found[...] = neutral[symbol]
                values[symbol] = found
                where[self._slots[symbol]] = self._device.address(found)
                self._strides.setdefault(symbol, found.strides)
            copied = {x: value(x).copy() for x in overtaken(out for out, _ in step.copies)}
            for out, part in step.copies:
                if part not in missing:
                    value(out.target)[...] = copied[out.symbol] if out.symbol in copied else value(out.symbol)

    def _view(self, symbol: Symbol, arrays: Sequence[Any], scratch: Any) -> Any:
        """Return what lies in the memory of an input, or in the scratch, as an array of the library."""
        if symbol in self._position:
            return self._memory.view(arrays[self._position[symbol]])
        start = self._scratch[symbol]
        size = symbol.size * itemsize(symbol.dtype)
        return scratch[start : start + size].view(memory_dtype(self._device.xp, symbol)).reshape(symbol.shape)


def _steps(
    schedule: Schedule,
    parts: Parts,
    position: Mapping[Symbol, int],
    gathered: Mapping[Symbol, Mapping[Symbol, int]],
) -> list[list[Wave] | Calls]:
    """Return the loops and the library's calls in their order; waves that follow on each other in one list."""
    part = {group: position[g] for group, g in parts.groups.items()}
    part_of = {x: position[g] for g, xs in parts.targets.items() for x in xs}
    part_of |= {x: position[g] for x, g in parts.numbers_of.items() if x not in part_of}
    reduced = {symbol for groups in schedule.passes for group in groups for symbol in group.reductions}
    found: list[Wave | Calls] = []
    for turn, groups in zip_longest(schedule.turns, schedule.passes):
        if turn is not None:
            found += cut(turn, reduced, part_of, gathered)
        if groups:
            found.append([Loop(group, part.get(group, -1)) for group in groups])
    keep_numbers(found)
    steps: list[list[Wave] | Calls] = []
    for step in found:
        if isinstance(step, Calls):
            steps.append(step)
        elif steps and isinstance(steps[-1], list):
            steps[-1].append(step)
        else:
            steps.append([step])
    return steps


def _loops(steps: Sequence[list[Wave] | Calls]) -> list[Loop]:
    return [loop for waves in steps if isinstance(waves, list) for wave in waves for loop in wave]


def _in_scratch(steps: Sequence[list[Wave] | Calls]) -> list[Symbol]:
    """Return what loops compute for others to read, and not into an input."""
    groups = [loop.group for loop in _loops(steps)]
    stored = [memory for group in groups for what, memory in group.stores if memory is what]
    return stored + [symbol for group in groups for symbol in group.reductions]
