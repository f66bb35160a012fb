"""Where the loops of a pass add up, block by block, and what they have added up to."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from uniopt.backends.fusion.memory import address
from uniopt.backends.fusion.symbol import Shape, Symbol

_START = {"sum": 0.0, "max": -np.inf, "min": np.inf}
_COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class _Total(NamedTuple):
    """A reduction, the shape in which each block leaves its part of the result, and how many blocks there are."""

    symbol: Symbol
    shape: Shape
    blocks: int


def _form(x: _Total) -> tuple[int, int]:
    return x.blocks, math.prod(x.shape)


def _rows(arrays: list[Any]) -> np.ndarray[Any, Any] | None:
    """Return the rows of a matrix that some arrays are, one after the other; None if they are not."""
    matrix = None if arrays[0] is None else arrays[0].base
    if matrix is None or matrix.ndim != 2 or any(x is None or x.base is not matrix for x in arrays):
        return None
    size = matrix.strides[0]
    first = (address(arrays[0]) - address(matrix)) // size
    found = matrix[first : first + len(arrays)]
    return found if all(address(x) == address(found) + i * size for i, x in enumerate(arrays)) else None


class _Buffer:
    """The memory of all reductions of one kind, one behind the other: numbers first, then arrays."""

    def __init__(self, op: str, dtype: str, totals: list[_Total]) -> None:
        self._op = op
        self._dtype = totals[0].symbol.dtype
        numbers = [x for x in totals if x.symbol.shape == ()]
        arrays = sorted((x for x in totals if x.symbol.shape != ()), key=_form)
        ends = np.cumsum([0, *(x.blocks * math.prod(x.shape) for x in (*numbers, *arrays))])
        self._memory = np.empty(ends[-1], dtype=dtype)
        start = address(self._memory)
        self.addresses = {
            x.symbol: start + int(at) * self._memory.itemsize
            for x, at in zip((*numbers, *arrays), ends[:-1], strict=True)
        }
        self._indexes = [x.symbol.index for x in numbers]
        self._starts = ends[: len(numbers)]
        self._numbers = self._memory[: ends[len(numbers)]]
        self._rows: list[np.ndarray[Any, Any] | None] | None = None
        self._arrays: list[tuple[list[Symbol], np.ndarray[Any, Any]]] = []
        first = int(ends[len(numbers)])
        for (blocks, size), group in groupby(arrays, key=_form):
            symbols = [x.symbol for x in group]
            last = first + len(symbols) * blocks * size
            self._arrays.append((symbols, self._memory[first:last].reshape(len(symbols), blocks, size)))
            first = last

    def clear(self) -> None:
        self._memory.fill(_START[self._op])

    def leave(self, values: list[Any]) -> None:
        combine = _COMBINE[self._op]
        if self._indexes:
            totals = combine.reduceat(self._numbers, self._starts).astype(self._dtype)
            for index, total in zip(self._indexes, totals, strict=True):
                values[index] = total
        if self._rows is None:  # the arrays that are there already stay the same ones
            self._rows = [_rows([values[symbol.index] for symbol in symbols]) for symbols, _ in self._arrays]
        for (symbols, parts), rows in zip(self._arrays, self._rows, strict=True):
            results = parts[:, 0] if parts.shape[1] == 1 else combine.reduce(parts, axis=1)
            if rows is not None:
                np.copyto(rows, results, casting="same_kind")
                continue
            for symbol, result in zip(symbols, results.astype(self._dtype), strict=True):
                array = result.reshape(symbol.shape)
                if values[symbol.index] is None:
                    values[symbol.index] = array
                else:
                    np.copyto(values[symbol.index], array)


class Accumulators:
    """What a pass adds up. First everything is added, then memory is allocated, once; each run clears it."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[str, str, str], list[_Total]] = {}  # by operation, dtype of the sums, of the results
        self._order: list[Symbol] = []
        self._buffers: list[_Buffer] = []

    def add(self, symbol: Symbol, shape: Shape, blocks: int) -> int:
        """Add a reduction to which so many blocks leave their parts; return its position among the addresses."""
        dtype = "float64" if symbol.op == "sum" else symbol.dtype
        self._wanted.setdefault((symbol.op, dtype, symbol.dtype), []).append(_Total(symbol, shape, blocks))
        self._order.append(symbol)
        return len(self._order) - 1

    def allocate(self) -> list[int]:
        """Allocate memory; return the address of each reduction's first block."""
        self._buffers = [_Buffer(op, dtype, totals) for (op, dtype, _), totals in self._wanted.items()]
        where = {symbol: at for buffer in self._buffers for symbol, at in buffer.addresses.items()}
        return [where[symbol] for symbol in self._order]

    def clear(self) -> None:
        """Make ready for a run."""
        for buffer in self._buffers:
            buffer.clear()

    def leave(self, values: list[Any]) -> None:
        """Leave the results in the list of values by symbol, in the arrays that are there already."""
        for buffer in self._buffers:
            buffer.leave(values)
