"""One pass over memory: its loops, bound to the strides of the arrays they run over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from uniopt.backends.dtypes import itemsize
from uniopt.backends.fusion import counted
from uniopt.backends.fusion.accumulators import Accumulators
from uniopt.backends.fusion.kernel import Kernel, Operand
from uniopt.backends.fusion.launch import Launch, blocks_of
from uniopt.backends.fusion.layout import Layout, Strides, contiguous, layout, spread
from uniopt.backends.fusion.lowering import Body, kept_shape, lower
from uniopt.backends.fusion.memory import address
from uniopt.backends.fusion.schedule import Group
from uniopt.backends.fusion.symbol import Shape, Symbol


class Pass:
    """The loops that run between two turns of the host.

    Parameters
    ----------
    groups
        The loops.
    inputs
        The positions of the symbols that are inputs, or lie in their memory.
    parts
        For each loop, the position of the gradient without which it is skipped.
    scratch
        Arrays of the program, which hold symbols that a loop has computed.

    Attributes
    ----------
    arguments, memories
        The 0-d symbols whose values the loops are given, and the symbols whose arrays they read or write.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        inputs: Mapping[Symbol, int],
        parts: Mapping[Group, int],
        scratch: Mapping[Symbol, np.ndarray[Any, Any]],
    ) -> None:
        self._bodies = [(group, lower(group)) for group in groups]
        self._inputs = inputs
        self._parts = parts
        self.arguments = [x for _, body in self._bodies for x, _ in body.arguments if isinstance(x, Symbol)]
        self.memories = list(dict.fromkeys(symbol for _, body in self._bodies for symbol in body.memories))
        self._lasting = {x: (scratch[x].strides, address(scratch[x])) for x in self.memories if x in scratch}
        self._lasting |= {x: (counted.strides(x), counted.first(x)) for x in self.memories if counted.is_counted(x)}
        self._computed = [x for x in self.memories if x not in inputs and x not in self._lasting]
        self._temporaries = [x for x in temporaries(groups) if x not in scratch]
        self._strides: list[Strides] | None = None  # of what has been computed

    def run(
        self,
        strides: Sequence[Strides],
        addresses: np.ndarray[Any, Any],
        values: list[Any],
        threads: int,
        missing: frozenset[int],
        moved: bool,
    ) -> None:
        """Run the loops over inputs with those strides and addresses, and over the values that have been computed.

        What they add up to is left among the values. Unless the inputs have `moved` since the latest call, their
        addresses are known.
        """
        for symbol in self._temporaries:
            values[symbol.index] = empty(symbol.dtype, symbol.shape)
        found = [values[symbol.index] for symbol in self._computed]
        computed = [x.strides for x in found]
        if computed != self._strides:
            self._bind(strides, computed, threads)
            self._strides = computed
            moved = True
        self._accumulators.clear()
        moved = moved or bool(found)
        if moved and (self._fixed or found):
            addresses = np.concatenate([addresses, np.array([address(x) for x in found] + self._fixed, dtype=np.int64)])
        for launch in self._launches:
            launch(addresses if moved else None, values, threads, missing)
        self._accumulators.leave(values)

    def _bind(self, strides: Sequence[Strides], computed: list[Strides], threads: int) -> None:
        """Find the kernels for these strides, compile them, and make their tables."""
        place = {symbol: len(strides) + i for i, symbol in enumerate((*self._computed, *self._lasting))}
        place |= self._inputs
        strides = [*strides, *computed, *(steps for steps, _ in self._lasting.values())]
        self._accumulators = Accumulators()
        self._first = len(strides)  # where the accumulators' addresses begin
        leaves: dict[Kernel, list[tuple[Layout, list[int], Body, list[Shape], int]]] = {}
        for group, body in self._bodies:
            slots = [place[symbol] for symbol in body.memories]
            kept = [kept_shape(symbol) for symbol in body.reduced]
            sizes = [itemsize(symbol.dtype) for symbol in body.memories] + [
                8 if s.op == "sum" else itemsize(s.dtype) for s in body.reduced
            ]
            steps = [spread(strides[i], x.shape, group.shape) for i, x in zip(slots, body.memories, strict=True)]
            steps += [
                spread(contiguous(shape, size), shape, group.shape)
                for shape, size in zip(kept, sizes[len(slots) :], strict=True)
            ]
            loops = layout(group.shape, steps)
            dtypes = [s.dtype for s in body.memories] + ["float64" if s.op == "sum" else s.dtype for s in body.reduced]
            operands = tuple(
                Operand(dtype, loops.inner(i, size), i < len(slots) and counted.is_counted(body.memories[i]))
                for i, (dtype, size) in enumerate(zip(dtypes, sizes, strict=True))
            )
            kernel = Kernel(
                len(loops.extents), operands, tuple(dtype for _, dtype in body.arguments),
                tuple(body.instructions), tuple(body.stores), tuple(body.reductions),
            )  # fmt: skip
            leaves.setdefault(kernel, []).append((loops, slots, body, kept, self._parts.get(group, -1)))
        self._launches = [Launch(kernel, run) for kernel, run in zip(leaves, _load(list(leaves)), strict=True)]
        for launch, group_leaves in zip(self._launches, leaves.values(), strict=True):
            for loops, slots, body, kept, part in group_leaves:
                self._add(launch, loops, slots, body, kept, part, threads)
            launch.finish()
        self._fixed = [*(start for _, start in self._lasting.values()), *self._accumulators.allocate()]

    def _add(
        self, launch: Launch, loops: Layout, slots: list[int], body: Body, kept: list[Shape], part: int, threads: int
    ) -> None:
        blocks = blocks_of(loops, bool(kept), threads)
        own = [0] * len(slots)  # for each operand, the bytes from one block's accumulators to the next one's
        all_slots = list(slots)
        for i, (symbol, shape) in enumerate(zip(body.reduced, kept, strict=True)):
            separate = loops.strides[len(slots) + i][0] == 0  # the outermost loop adds up into one place
            all_slots.append(self._first + self._accumulators.add(symbol, shape, blocks if separate else 1))
            size = 8 if symbol.op == "sum" else itemsize(symbol.dtype)
            own.append(size * math.prod(shape) if separate else 0)
        arguments = [x.index if isinstance(x, Symbol) else float(x) for x, _ in body.arguments]
        launch.add(loops, all_slots, arguments, blocks, own, part)


def temporaries(groups: Sequence[Group]) -> list[Symbol]:
    """Return what loops store for others to read, and not into an input."""
    return [memory for group in groups for what, memory in group.stores if memory is what]


def empty(dtype: str, shape: Shape) -> np.ndarray[Any, Any]:
    """Return an array for values of a dtype; bfloat16 as uint16."""
    return np.empty(shape, dtype="uint16" if dtype == "bfloat16" else dtype)


def _load(kernels: list[Kernel]) -> list[Callable[[int, int, int], None]]:
    """Return the functions of kernels: machine code where LLVM is installed, else NumPy's."""
    if find_spec("llvmlite") is None:
        from uniopt.backends.fusion.blocked import load as load_blocked

        return load_blocked(kernels)
    from uniopt.backends.fusion.machine import load

    return list(load(kernels))
