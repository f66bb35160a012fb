"""Kernels run on NumPy's arrays, and the numbers and layouts of memory that they are tried with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import ml_dtypes
import numpy as np
from uniopt.backends.fusion.kernel import Kernel, Operand
from uniopt.backends.fusion.lanes import INTEGERS
from uniopt.backends.fusion.llvm import WIDTH
from uniopt.backends.fusion.machine import Machine

Array = np.ndarray[Any, Any]

EDGES = (0, 1, WIDTH - 1, WIDTH, WIDTH + 1, 1000)
"""Lengths around that of a vector."""


def kind(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def special(dtype: str) -> Array:
    """Values at which operations and conversions have something to go wrong, and some that are nothing special."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype in INTEGERS:
        info = np.iinfo(dtype)
        return np.array(
            [0, 1, -1, 2, 3, -7, 100, 31, 32, 33, 63, 64, 65, info.max, info.min, info.min + 1], dtype=dtype
        )
    limits = ml_dtypes.finfo(kind(dtype))
    tiny, eps = float(limits.tiny), float(limits.eps)
    edges = [float(limits.max), tiny, float(limits.smallest_subnormal), tiny / 2, 1 + eps, np.inf]
    plain = [0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 0.49999997, 8388609.0, 1e-8]
    with np.errstate(over="ignore"):
        positive = np.array([*edges, *plain], dtype=np.float64).astype(kind(dtype))
    size = 8 * kind(dtype).itemsize
    infinity = int(np.array(np.inf, dtype=kind(dtype)).view(f"u{size // 8}"))
    nans = np.array([infinity + 1, 2 ** (size - 1) - 1, 2**size - 1], dtype=f"u{size // 8}")  # whatever their bits
    return np.concatenate([positive, -positive, nans.view(kind(dtype))])


def laid_out(how: str, shape: tuple[int, ...], x: Array) -> Array:
    """Return the first elements of `x` in an array of that shape."""
    count = math.prod(shape)
    if how == "reversed":
        return x[:count][::-1].reshape(shape[::-1])[::-1].T if len(shape) > 1 else x[: 2 * count : 2][::-1]
    if how == "transposed":
        return x[:count].reshape(shape[::-1]).T if len(shape) > 1 else x[: 3 * count : 3]
    return x[:count].reshape(shape)


def differ(x: Array, y: Array) -> Array:
    """Return where two arrays have other bits; one NaN is as good as another."""
    assert (x.dtype, x.shape) == (y.dtype, y.shape)
    bits = f"u{x.itemsize}"
    other = np.ascontiguousarray(x).view(bits) != np.ascontiguousarray(y).view(bits)
    if x.dtype.kind in "bi":
        return other
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return other & ~(np.isnan(x) & np.isnan(y))


def operands_of(*arrays: Array) -> tuple[Operand, ...]:
    """Return operands for arrays of one shape, some of them broadcast."""
    inner: dict[int, Literal["same", "next"]]
    found = []
    for x in arrays:
        inner = {0: "same", x.itemsize: "next"}
        found.append(Operand(x.dtype.name, inner.get(x.strides[-1], "strided")))
    return tuple(found)


def row(*arrays: Array) -> list[int]:
    """Return the row of a table that runs over those arrays."""
    return [*arrays[0].shape, *itertools.chain(*([x.ctypes.data, *x.strides] for x in arrays))]


def run(
    machine: Machine, kernel: Kernel, rows: Sequence[Sequence[Array]], arguments: Sequence[Sequence[float]] = ()
) -> None:
    table = np.array([row(*arrays) for arrays in rows], dtype=np.int64)
    scalars = np.array(arguments, dtype=np.float64)
    assert table.shape == (len(rows), kernel.columns)
    assert scalars.size == len(rows) * len(kernel.arguments)
    for line, given in zip(scalars, arguments, strict=True):
        integers = [i for i, dtype in enumerate(kernel.arguments) if dtype == "int64"]
        line.view(np.int64)[integers] = [given[i] for i in integers]
    machine.load([kernel])[0](table.ctypes.data, len(rows), scalars.ctypes.data)
