"""Kernels by NumPy, a block of elements at a time, for where there is no compiler.

Each operation runs over a block that stays in the processor's cache, so that memory is still passed over once; the
results are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from uniopt.backends.dtypes import itemsize
from uniopt.backends.fusion.bfloat16 import narrow, widen
from uniopt.backends.fusion.inner_loops import CALLED
from uniopt.backends.fusion.kernel import Argument, Constant, Instruction, Kernel, Load, Source, Value

_BLOCK = 1 << 14  # elements

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "negative": np.negative, "positive": np.positive, "sqrt": np.sqrt, "sign": np.sign,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint, "where": np.where,
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "maximum": np.maximum, "minimum": np.minimum,
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal,
    "isnan": np.isnan, "isfinite": np.isfinite, "isinf": np.isinf,
    "reciprocal": np.reciprocal, "copysign": np.copysign, "signbit": np.signbit,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
    "bitwise_invert": np.bitwise_invert, "bitwise_left_shift": np.left_shift, "bitwise_right_shift": np.right_shift,
    **{op: getattr(xp, op) for op in CALLED},
}  # fmt: skip
_REDUCE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


def load(kernels: Sequence[Kernel]) -> list[Callable[[int, int, int], None]]:
    """Return a function for each kernel: called with the address of the table, its rows, and the arguments' address."""
    return [partial(_run, kernel) for kernel in kernels]


def _run(kernel: Kernel, table: int, rows: int, arguments: int) -> None:
    cells = _at(table, (rows, kernel.columns), "int64")
    scalars = _at(arguments, (rows, len(kernel.arguments)), "float64") if kernel.arguments else np.empty((rows, 0))
    for row, given in zip(cells.tolist(), scalars, strict=True):
        extents = tuple(row[: kernel.rank])
        if 0 in extents:
            continue
        operands = []
        for i, operand in enumerate(kernel.operands):
            first = kernel.rank + i * (1 + kernel.rank)
            steps = tuple(row[first + 1 : first + 1 + kernel.rank])
            there = _Counted if operand.counted else _at
            operands.append(there(row[first], extents, operand.dtype, steps))
        typed = [
            x.view(np.int64) if dtype == "int64" else np.dtype(dtype).type(x)
            for x, dtype in zip(given, kernel.arguments, strict=True)
        ]
        with np.errstate(all="ignore"):  # kernels of machine code do not warn either
            for block in _blocks(extents):
                _evaluate(kernel, [x[block] for x in operands], typed)


def _evaluate(kernel: Kernel, operands: list[Any], arguments: list[Any]) -> None:
    values: list[Any] = []

    def read(source: Source) -> Any:
        if isinstance(source, Value):
            return values[source.index]
        if isinstance(source, Load):
            return operands[source.operand]
        if isinstance(source, Argument):
            return arguments[source.index]
        return source.value

    for instruction in kernel.body:
        args = [read(source) for source in instruction.args]
        sources = [_dtype(kernel, source) for source in instruction.args]
        values.append(_apply(instruction, args, sources))
    # Before anything is stored: a store may write what another one, or a reduction, reads.
    stored = [(i, np.array(read(source)) if isinstance(source, Load) else read(source)) for i, source in kernel.stores]
    for reduction in kernel.reductions:
        total = operands[reduction.operand]
        axes = tuple(a for a, step in enumerate(total.strides) if step == 0)
        total = total[tuple(slice(0, 1) if a in axes else slice(None) for a in range(total.ndim))]
        function = _REDUCE[reduction.op]
        spread = np.broadcast_to(read(reduction.source), operands[reduction.operand].shape)
        function(total, function.reduce(spread, axis=axes, dtype=total.dtype, keepdims=True), out=total)
    for i, value in stored:
        operands[i][...] = value


def _apply(instruction: Instruction, args: list[Any], sources: list[str | None]) -> Any:
    if instruction.op != "astype":
        return _FUNCTIONS[instruction.op](*args)
    if sources[0] == "bfloat16":
        return np.asarray(widen(args[0]), dtype=instruction.dtype)
    if instruction.dtype == "bfloat16":
        return narrow(np.asarray(args[0], dtype=np.float32))
    return np.asarray(args[0], dtype=instruction.dtype)


def _dtype(kernel: Kernel, source: Source) -> str | None:
    if isinstance(source, Value):
        return kernel.body[source.index].dtype
    if isinstance(source, Load):
        return kernel.operands[source.operand].dtype
    return None if isinstance(source, Constant) else kernel.arguments[source.index]


def _blocks(extents: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut loops into blocks of about a cache's size, the innermost loop last."""
    outer, *inner = extents
    below = int(np.prod(inner, dtype=np.int64))
    step = max(1, _BLOCK // below)
    for start in range(0, outer, step):
        here = slice(start, min(start + step, outer))
        if below > _BLOCK:
            yield from ((here, *rest) for rest in _blocks(tuple(inner)))
        else:
            yield (here, *(slice(None) for _ in inner))


class _Counted:
    """Numbers that are their addresses, counted in elements."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: str, strides: tuple[int, ...]) -> None:
        self._address, self._shape, self._dtype, self._strides = address, shape, dtype, strides

    def __getitem__(self, block: tuple[slice, ...]) -> Any:
        lines = zip(self._shape, self._strides, block, strict=True)
        offsets = (step * np.arange(*part.indices(n), dtype=np.int64) for n, step, part in lines)
        addresses: Any = reduce(np.add.outer, offsets, np.asarray(self._address))
        return (addresses // itemsize(self._dtype)).astype(self._dtype)


def _at(address: int, shape: tuple[int, ...], dtype: str, strides: tuple[int, ...] | None = None) -> Any:
    """Return the array that lies at an address; bfloat16 as uint16."""
    kind = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    if strides is None:
        strides = tuple(itemsize(dtype) * int(np.prod(shape[a + 1 :])) for a in range(len(shape)))
    interface = {"data": (address, False), "shape": shape, "strides": strides, "typestr": kind.str, "version": 3}
    return np.asarray(type("_Memory", (), {"__array_interface__": interface})())
