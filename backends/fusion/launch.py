"""A kernel over many leaves: tables of addresses and scalars, filled in at each step, shared by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count, pairwise
from typing import Any

import numpy as np
from uniopt.backends.fusion.kernel import Kernel
from uniopt.backends.fusion.layout import Layout

BLOCK = 8192
"""Elements that a sum is taken over before the sums are added pairwise, the same on every machine."""

_MOST_BLOCKS = 16  # where each block has accumulators of its own for a whole axis
_WORTH_A_THREAD = 1 << 16  # elements
_PIECES = 8  # for each thread


class Launch:
    """All leaves that one kernel runs over in a pass.

    Parameters
    ----------
    kernel
        What runs.
    run
        Its machine code: called with the addresses of the table and the scalars, and the number of rows.
    """

    def __init__(self, kernel: Kernel, run: Callable[[int, int, int], None]) -> None:
        self._kernel = kernel
        self._run = run
        self._rows: list[list[int]] = []
        self._slots: list[list[int]] = []  # for each row, whose address each operand's offset is added to
        self._scalars: list[list[float | int]] = []  # for each row, numbers, or (as ints) which symbol's value
        self._weights: list[int] = []
        self._part: list[int] = []

    def add(
        self,
        layout: Layout,
        slots: Sequence[int],
        arguments: Sequence[float | int],
        blocks: int,
        own: Sequence[int],
        part: int,
    ) -> None:
        """Add a leaf, cut into blocks along its outermost loop.

        Parameters
        ----------
        layout
            The leaf's loops.
        slots
            For each operand, the slot of its address.
        arguments
            For each scalar a float, or the index of the symbol that has it.
        blocks
            Into how many rows the leaf is cut.
        own
            For each operand, the bytes from one block's accumulators to the next one's; 0 if it is no accumulator.
        part
            Position of the gradient without which the leaf is skipped; -1 if there is none.
        """
        outer, *inner = layout.extents
        for block in range(blocks):
            start, stop = outer * block // blocks, outer * (block + 1) // blocks
            row = [stop - start, *inner]
            for strides, step in zip(layout.strides, own, strict=True):
                row += [start * strides[0] + block * step, *strides]
            self._rows.append(row)
            self._slots.append(list(slots))
            self._scalars.append(list(arguments))
            self._part.append(part)
            self._weights.append((stop - start) * int(np.prod(inner, dtype=np.int64)))

    def finish(self) -> None:
        """Make the tables, after the last leaf has been added."""
        rank, operands = self._kernel.rank, len(self._kernel.operands)
        rows = np.array(self._rows, dtype=np.int64)
        self._table = rows.reshape(-1)
        columns = rank + (1 + rank) * np.arange(operands)
        self._address_cells = (np.arange(len(rows))[:, None] * self._kernel.columns + columns).reshape(-1)
        self._offsets = self._table[self._address_cells]
        self._slot = np.array(self._slots, dtype=np.intp).reshape(-1)
        flat = [x for row in self._scalars for x in row]
        self._wanted = list(dict.fromkeys(x for x in flat if not isinstance(x, float)))
        fixed = [x for x in flat if isinstance(x, float)]  # kept apart, because 0.0 == -0.0
        self._numbers = np.array([*(0.0 for _ in self._wanted), *fixed], dtype=np.float64)
        place = {symbol: i for i, symbol in enumerate(self._wanted)}
        behind = count(len(place))
        self._from = np.array([next(behind) if isinstance(x, float) else place[x] for x in flat], dtype=np.intp)
        self._arguments = self._numbers.take(self._from)
        # A float64 does not hold every int64.
        dtypes = self._kernel.arguments * len(rows)
        integers = [(cell, x) for cell, (x, dtype) in enumerate(zip(flat, dtypes, strict=True)) if dtype == "int64"]
        self._integers = [x for _, x in integers]
        self._integer_cells = np.array([cell for cell, _ in integers], dtype=np.intp)
        self._where = self._table.ctypes.data, len(rows), self._arguments.ctypes.data
        self._ends = np.cumsum(self._weights)
        self._total = int(self._ends[-1])
        del self._rows, self._slots, self._scalars, self._weights

    def __call__(
        self, addresses: np.ndarray[Any, Any] | None, values: Sequence[Any], threads: int, missing: frozenset[int]
    ) -> None:
        """Run over all rows but those of missing parts.

        Parameters
        ----------
        addresses
            By slot; None if they are those of the latest call.
        values
            The scalars, by symbol.
        threads
            How many may be used.
        missing
            Positions of the missing gradients.
        """
        if addresses is not None:
            self._table[self._address_cells] = addresses.take(self._slot) + self._offsets
        if self._wanted:
            self._numbers[: len(self._wanted)] = [values[i] for i in self._wanted]
            self._numbers.take(self._from, out=self._arguments, mode="clip")  # the default mode takes a copy
        if self._integers:
            found = [int(x) if isinstance(x, float) else values[x] for x in self._integers]
            self._arguments.view(np.int64)[self._integer_cells] = found
        if missing:
            self._run_present(missing)
            return
        if threads == 1 or self._total < 2 * _WORTH_A_THREAD:
            self._run(*self._where)
            return
        # More pieces than threads: a thread whose core is busy otherwise takes fewer of them.
        pieces = iter(self._pieces(min(_PIECES * threads, self._total // _WORTH_A_THREAD)))
        others = [_pool(threads - 1).submit(self._work, pieces) for _ in range(threads - 1)]
        self._work(pieces)
        for other in others:
            other.result()

    def _run_present(self, missing: frozenset[int]) -> None:
        present = np.array([part not in missing for part in self._part])
        rows = int(present.sum())
        if rows:
            table = self._table.reshape(len(present), -1)[present]
            arguments = self._arguments.reshape(len(present), -1)[present]
            self._run(table.ctypes.data, rows, arguments.ctypes.data)

    def _work(self, pieces: Iterator[tuple[int, int, int]]) -> None:
        for piece in pieces:  # taking the next one is atomic
            self._run(*piece)

    def _pieces(self, parts: int) -> list[tuple[int, int, int]]:
        """Return what each thread runs: runs of rows with about as many elements each."""
        table, rows, arguments = self._where
        cuts = [0, *(int(np.searchsorted(self._ends, self._total * k // parts)) + 1 for k in range(1, parts)), rows]
        row, scalars = 8 * self._kernel.columns, 8 * len(self._kernel.arguments)
        return [
            (table + first * row, last - first, arguments + first * scalars)
            for first, last in pairwise(cuts)
            if last > first
        ]


def blocks_of(layout: Layout, adds_up: bool, threads: int) -> int:
    """Return into how many rows a leaf is cut: with sums by its shape alone, else by the number of threads."""
    outer = layout.extents[0]
    total = int(np.prod(layout.extents, dtype=np.int64))
    if not adds_up:
        return max(1, min(outer, _PIECES * threads, total // _WORTH_A_THREAD)) if threads > 1 else 1
    if len(layout.extents) == 1:
        return -(-outer // BLOCK)
    return min(outer, _MOST_BLOCKS, -(-total // BLOCK))


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="uniopt")
