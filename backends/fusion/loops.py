"""One pass over memory: its loops, bound to the strides of the arrays they run over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from uniopt.backends.fusion.kernel import Kernel, Operand
from uniopt.backends.fusion.launch import Launch, blocks_of
from uniopt.backends.fusion.layout import Layout, Strides, layout
from uniopt.backends.fusion.lowering import Body, lower
from uniopt.backends.fusion.machine import load
from uniopt.backends.fusion.memory import address
from uniopt.backends.fusion.recording import Shape, Symbol
from uniopt.backends.fusion.schedule import Group

_SIZES = {"bool": 1, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4, "int64": 8, "float64": 8}
_START = {"sum": 0.0, "max": -np.inf, "min": np.inf}
_COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class Pass:
    """The loops that run between two turns of the host.

    Attributes
    ----------
    memories
        The inputs and symbols that the loops read or write.
    temporaries
        Those of them that come to be in this pass.
    arguments
        The 0-d symbols whose values the loops are given.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._bodies = [(group, lower(group)) for group in groups]
        self.memories = list(dict.fromkeys(symbol for _, body in self._bodies for symbol in body.memories))
        self.arguments = [x for _, body in self._bodies for x, _ in body.arguments if isinstance(x, Symbol)]
        self.temporaries = [memory for group in groups for what, memory in group.stores if memory is what]
        self._strides: list[Strides] | None = None
        self._partial: dict[int, tuple[Symbol, np.ndarray[Any, Any]]] = {}

    def run(self, strides: list[Strides], addresses: list[int], values: Sequence[Any], threads: int) -> None:
        """Run the loops over the memories that lie at those addresses."""
        if strides != self._strides:
            self._bind(strides, threads)
            self._strides = strides
        for symbol, partial in self._partial.values():
            partial.fill(_START[symbol.op])
        where = np.array(addresses + self._partial_addresses, dtype=np.int64)
        for launch in self._launches:
            launch(where, values, threads)

    def reduced(self, index: int) -> Any:
        """Return the result of a reduction that has been run; None if it belongs to another pass."""
        if index not in self._partial:
            return None
        symbol, partial = self._partial[index]
        total = _COMBINE[symbol.op].reduce(partial, axis=0)
        result = np.asarray(total, dtype=symbol.dtype).reshape(symbol.shape)
        return result[()] if symbol.shape == () else result

    def _bind(self, strides: list[Strides], threads: int) -> None:
        """Find the kernels for these strides, compile them, and make their tables."""
        place = {symbol: i for i, symbol in enumerate(self.memories)}
        self._partial = {}
        self._partial_addresses: list[int] = []
        leaves: dict[Kernel, list[tuple[Layout, list[int], Body, list[Shape]]]] = {}
        for group, body in self._bodies:
            slots = [place[symbol] for symbol in body.memories]
            kept = [_kept_shape(symbol) for symbol in body.reduced]
            sizes = [_SIZES[symbol.dtype] for symbol in body.memories] + [8 if s.op == "sum" else _SIZES[s.dtype] for s in body.reduced]
            steps = [_spread(strides[i], self.memories[i].shape, group.shape) for i in slots]
            steps += [_spread(_contiguous(shape, size), shape, group.shape) for shape, size in zip(kept, sizes[len(slots) :], strict=True)]
            loops = layout(group.shape, steps)
            dtypes = [s.dtype for s in body.memories] + ["float64" if s.op == "sum" else s.dtype for s in body.reduced]
            operands = tuple(Operand(dtype, loops.inner(i, size)) for i, (dtype, size) in enumerate(zip(dtypes, sizes, strict=True)))
            kernel = Kernel(
                len(loops.extents), operands, tuple(dtype for _, dtype in body.arguments),
                tuple(body.instructions), tuple(body.stores), tuple(body.reductions),
            )  # fmt: skip
            leaves.setdefault(kernel, []).append((loops, slots, body, kept))
        self._launches = [Launch(kernel, run) for kernel, run in zip(leaves, load(list(leaves)), strict=True)]
        for launch, group_leaves in zip(self._launches, leaves.values(), strict=True):
            for loops, slots, body, kept in group_leaves:
                self._add(launch, loops, slots, body, kept, threads)
            launch.finish()

    def _add(
        self, launch: Launch, loops: Layout, slots: list[int], body: Body, kept: list[Shape], threads: int
    ) -> None:
        blocks = blocks_of(loops, bool(kept), threads)
        own = [0] * len(slots)
        all_slots = list(slots)
        for i, (symbol, shape) in enumerate(zip(body.reduced, kept, strict=True)):
            separate = loops.strides[len(slots) + i][0] == 0  # the outermost loop adds up into one place
            dtype = "float64" if symbol.op == "sum" else symbol.dtype
            partial = np.empty((blocks if separate else 1, *shape), dtype=dtype)
            all_slots.append(len(self.memories) + len(self._partial_addresses))
            self._partial_addresses.append(address(partial))
            self._partial[symbol.index] = (symbol, partial)
            own.append(partial.strides[0] if separate else 0)
        arguments = [x.index if isinstance(x, Symbol) else float(x) for x, _ in body.arguments]
        launch.add(loops, all_slots, arguments, blocks, own)


def _kept_shape(reduction: Symbol) -> Shape:
    """Return the shape of a reduction with its axes kept, of length 1."""
    axes = dict(reduction.keywords)["axis"]
    return tuple(1 if a in axes else n for a, n in enumerate(reduction.args[0].shape))


def _contiguous(shape: Shape, itemsize: int) -> Strides:
    steps = [itemsize]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return tuple(reversed(steps[: len(shape)]))


def _spread(strides: Strides, shape: Shape, target: Shape) -> Strides:
    """Return the strides of an array that is broadcast to another shape."""
    missing = len(target) - len(shape)
    return (0,) * missing + tuple(0 if n == 1 else step for n, step in zip(shape, strides, strict=True))
