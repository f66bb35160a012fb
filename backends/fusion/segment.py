"""Loops on a device, wave after wave: which kernels they are, the table of their rows, and the launches.

Loops of a wave do not depend on each other, so all leaves that share a kernel share its launch. A loop with reductions
becomes several: one over the elements for each set of axes, which leaves partial results, one that adds these up, and
one for what the loop stores. That one comes last, since it may write to what the others read.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from uniopt.backends.dtypes import itemsize
from uniopt.backends.fusion import counted
from uniopt.backends.fusion.cuda import CHUNK, THREADS, emit
from uniopt.backends.fusion.kernel import Kernel, Load, Operand, Reduction
from uniopt.backends.fusion.layout import Layout, Strides, contiguous, layout, spread
from uniopt.backends.fusion.lowering import Body, kept_shape, lower
from uniopt.backends.fusion.schedule import Group
from uniopt.backends.fusion.scratch import Device, Scratch
from uniopt.backends.fusion.split import split
from uniopt.backends.fusion.symbol import Symbol

_SHARE = 64
"""Elements that a thread adds up before it is another thread's turn: the same on every device."""


@dataclass(frozen=True)
class Loop:
    """A loop, and the position of the gradient without which it is skipped; -1 if there is none."""

    group: Group
    part: int


Wave = list[Loop]

# Addresses are given by slot. The first slots are the segment's own.
_PLAIN, _CONSTANTS, _PARTIALS = range(3)
FIRST_SLOT = 3

Cell = tuple[int, int]  # a slot, and what is added to its address; a plain number in the slot whose address is 0


@dataclass
class _Row:
    """A row of a kernel's table."""

    cells: list[Cell]
    chunks: int
    part: int


@dataclass
class _Launch:
    """A kernel and its rows, which begin at a byte of the table."""

    run: Callable[[int, int, int], None]
    table: int
    chunks: np.ndarray[Any, Any]  # of each row
    parts: list[int]
    blocks: int = 0
    first: int = 0  # the byte at which its chunks begin

    def present(self, missing: frozenset[int]) -> np.ndarray[Any, Any]:
        """Return the row and the number within it of every chunk, without those of missing parts."""
        counts = self.chunks * [part not in missing for part in self.parts]
        rows = np.repeat(np.arange(len(counts)), counts)
        numbers = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.stack([rows, numbers], axis=1).astype(np.int32)


class Segment:
    """Waves that run one after the other, with nothing of the library's between them."""

    def __init__(self, waves: Sequence[Wave], device: Device) -> None:
        self.waves = waves
        self._device = device
        self._results = Scratch(device)
        self._launches: list[_Launch] | None = None
        self._queue: Hashable = None
        self._missing: frozenset[int] = frozenset()

    def run(
        self,
        where: np.ndarray[Any, Any],
        slots: Mapping[Symbol, int],
        strides: Mapping[Symbol, Strides],
        missing: frozenset[int],
    ) -> None:
        """Run all waves.

        Parameters
        ----------
        where
            Addresses by slot; the first ones, which are the segment's own, are overwritten.
        slots, strides
            The slots and strides of symbols, the same in every run.
        missing
            Positions of the gradients whose loops are skipped.
        """
        device = self._device
        if self._launches is None:
            self._launches = self._bind(slots, strides)
        queue = device.queue()
        if queue != self._queue or missing != self._missing:  # what another queue has uploaded may not be there yet
            self._queue, self._missing = queue, missing
            self._fixed = self._upload_fixed(self._launches, missing)
            self._host: np.ndarray[Any, Any] = np.empty(0)
        partials = self._results.of(self._size)
        fixed = device.address(self._fixed)
        where[_CONSTANTS], where[_PARTIALS] = fixed, device.address(partials)
        host = where.take(self._cell_slots) + self._cell_offsets
        if not np.array_equal(host, self._host):
            self._host, self._table = host, device.upload(host)
        table = device.address(self._table)
        for launch in self._launches:
            if launch.blocks:
                launch.run(launch.blocks, table + launch.table, fixed + launch.first)

    def _upload_fixed(self, launches: Sequence[_Launch], missing: frozenset[int]) -> Any:
        """Upload the constants and, behind them, each launch's chunks."""
        fixed = [np.array(self._constants, dtype=np.int64)]
        size = fixed[0].nbytes
        for launch in launches:
            chunks = launch.present(missing)
            launch.blocks, launch.first = len(chunks), size
            fixed.append(chunks.reshape(-1).view(np.int64))
            size += chunks.nbytes
        return self._device.upload(np.concatenate(fixed))

    # Kernels

    def _bind(self, slots: Mapping[Symbol, int], strides: Mapping[Symbol, Strides]) -> list[_Launch]:
        self._slots, self._strides = slots, strides
        self._constants: list[int] = []
        self._size = 0  # of the partial results
        kernels: list[dict[Kernel, list[_Row]]] = []
        for wave in self.waves:
            elements: dict[Kernel, list[_Row]] = {}
            partial: dict[Kernel, list[_Row]] = {}
            total: dict[Kernel, list[_Row]] = {}
            for loop in wave:
                for group in split(loop.group):
                    if group.reductions:
                        self._reduce(group, loop.part, partial, total)
                    else:
                        self._store(group, loop.part, elements)
            kernels += [partial, total, elements]
        launches: list[Any] = []
        cells: list[Any] = []
        for found in kernels:
            for kernel, rows in found.items():
                chunks = np.array([row.chunks for row in rows])
                run = self._device.load(emit(kernel))
                launches.append(_Launch(run, 8 * len(cells), chunks, [row.part for row in rows]))
                cells += [cell for row in rows for cell in row.cells]
        self._cell_slots = np.array([slot for slot, _ in cells], dtype=np.intp)
        self._cell_offsets = np.array([offset for _, offset in cells], dtype=np.int64)
        return launches

    def _store(self, group: Group, part: int, found: dict[Kernel, list[_Row]]) -> None:
        body = lower(group)
        loops = layout(group.shape, [spread(self._steps(x), x.shape, group.shape) for x in body.memories])
        operands = _operands([x.dtype for x in body.memories], loops, body.memories)
        kernel = Kernel(
            len(loops.extents), operands, tuple(dtype for _, dtype in body.arguments),
            tuple(body.instructions), tuple(body.stores),
        )  # fmt: skip
        cells = self._cells(loops, [self._place(x) for x in body.memories], body)
        size = int(np.prod(loops.extents, dtype=np.int64))
        found.setdefault(kernel, []).append(_Row(cells, -(-size // CHUNK), part))

    def _reduce(
        self, group: Group, part: int, partial: dict[Kernel, list[_Row]], total: dict[Kernel, list[_Row]]
    ) -> None:
        """Add a loop that leaves partial results, and the loops that make the total of them."""
        body = lower(group)
        dtypes = [x.dtype for x in body.memories] + [_partial_dtype(x) for x in body.reduced]
        kept = kept_shape(body.reduced[0])  # the same for all of them
        steps = [spread(self._steps(x), x.shape, group.shape) for x in body.memories]
        steps += [spread(contiguous(kept, itemsize(_partial_dtype(x))), kept, group.shape) for x in body.reduced]
        axes = dict(body.reduced[0].keywords)["axis"]
        loops, near = _results_first(group.shape, axes, steps)
        results = int(np.prod(kept, dtype=np.int64))
        each = int(np.prod(group.shape, dtype=np.int64)) // results
        lanes = _lanes(each) if near else 1
        pieces = -(-each // (_SHARE * lanes))
        places = []
        for symbol in body.reduced:
            places.append((_PARTIALS, self._size))
            self._add_up(symbol, places[-1], results, pieces, part, total)
            self._size += 8 * results * pieces
        kernel = Kernel(
            len(loops.extents), _operands(dtypes, loops, body.memories), tuple(dtype for _, dtype in body.arguments),
            tuple(body.instructions), (), tuple(body.reductions),
        )  # fmt: skip
        cells = self._cells(loops, [self._place(x) for x in body.memories] + places, body)
        cells += [(_PLAIN, n) for n in (results, each, lanes, _SHARE * lanes)]
        partial.setdefault(kernel, []).append(_Row(cells, pieces * _groups(results, lanes), part))

    def _add_up(
        self, symbol: Symbol, place: Cell, results: int, pieces: int, part: int, found: dict[Kernel, list[_Row]]
    ) -> None:
        """Add the loop that makes a reduction's result of partial ones: of every piece one, for each result."""
        dtypes = _partial_dtype(symbol), symbol.dtype
        sizes = [itemsize(dtype) for dtype in dtypes]
        shape = (results, pieces)
        loops, _ = _results_first(shape, (1,), [(sizes[0], results * sizes[0]), (sizes[1], 0)])
        reduction = Reduction(symbol.op, Load(0), 1)  # type: ignore[arg-type]  # schedule.REDUCTIONS
        kernel = Kernel(len(loops.extents), _operands(dtypes, loops), (), (), (), (reduction,))
        lanes = _lanes(pieces)
        cells = self._cells(loops, [place, (self._slots[symbol], 0)], None)
        cells += [(_PLAIN, n) for n in (results, pieces, lanes, pieces)]
        found.setdefault(kernel, []).append(_Row(cells, _groups(results, lanes), part))

    def _cells(self, loops: Layout, places: Sequence[Cell], body: Body | None) -> list[Cell]:
        """Return a row as far as it is the same with reductions and without."""
        cells = [(_PLAIN, n) for n in loops.extents]
        for place, steps in zip(places, loops.strides, strict=True):
            cells += [place, *((_PLAIN, step) for step in steps)]
        for x, dtype in body.arguments if body else ():
            cells.append((self._slots[x], 0) if isinstance(x, Symbol) else self._constant(x, dtype))
        return cells

    def _place(self, x: Symbol) -> Cell:
        """Return where a row has the address of a symbol's elements."""
        return (_PLAIN, counted.first(x)) if counted.is_counted(x) else (self._slots[x], 0)

    def _steps(self, x: Symbol) -> Strides:
        return counted.strides(x) if counted.is_counted(x) else self._strides[x]

    def _constant(self, x: float, dtype: str) -> Cell:
        bits = np.zeros(1, dtype=np.int64)
        bits.view(dtype)[0] = x
        self._constants.append(int(bits[0]))
        return _CONSTANTS, 8 * (len(self._constants) - 1)


def _results_first(shape: Sequence[int], axes: Sequence[int], steps: Sequence[Strides]) -> tuple[Layout, bool]:
    """Return loops over the results, then over the axes that are added up; and whether these are near in memory."""
    kept = [a for a in range(len(shape)) if a not in axes]
    outer, inner = (
        layout([shape[a] for a in some], [tuple(s[a] for a in some) for s in steps]) for some in (kept, axes)
    )
    if outer.extents == (1,):
        return inner, True
    near = sum(abs(s[-1]) for s in inner.strides) <= sum(abs(s[-1]) for s in outer.strides)
    if inner.extents == (1,):
        return outer, near
    strides = tuple((*a, *b) for a, b in zip(outer.strides, inner.strides, strict=True))
    return Layout((*outer.extents, *inner.extents), strides), near


def _operands(dtypes: Sequence[str], loops: Layout, memories: Sequence[Symbol] = ()) -> tuple[Operand, ...]:
    return tuple(
        Operand(dtype, loops.inner(i, itemsize(dtype)), i < len(memories) and counted.is_counted(memories[i]))
        for i, dtype in enumerate(dtypes)
    )


def _partial_dtype(reduction: Symbol) -> str:
    return "float64" if reduction.op == "sum" else reduction.dtype


def _lanes(elements: int) -> int:
    """Return how many threads share so many elements: a power of two, not more than there are."""
    return min(THREADS, 1 << (elements - 1).bit_length())


def _groups(results: int, lanes: int) -> int:
    """Return how many blocks it takes for all results."""
    return -(-results * lanes // THREADS)
