"""NumPy's own loops over elements, for functions whose bits only NumPy knows: kernels call them on a few elements.

A ufunc holds, for each combination of dtypes, the address of a C function and of what that one is given besides. Both
are fields of a C structure that is part of NumPy's binary interface. They are believed only if they give, piece by
piece, the bits of the ufunc itself; else the function stays a call of the library on whole arrays.

`pow` is not among them: its loop has other functions for some exponents, wherever one exponent is that of all elements.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

UNARY = {
    "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
}  # fmt: skip
DIVISIONS = {"remainder", "floor_divide"}
"""These have integers too."""
BINARY = {"atan2", "hypot", "logaddexp", "nextafter"} | DIVISIONS
CALLED = UNARY | BINARY

LANES = 64
"""Elements that a kernel calls a loop for, where there are as many: a call costs as much as some ten of them."""

_PIECES = (LANES, 16, 1)


class InnerLoop(ctypes.Structure):
    """A loop over elements of one dtype: ``loop(addresses, &count, strides, data)``."""

    _fields_ = (("loop", ctypes.c_void_p), ("data", ctypes.c_void_p))


class _Ufunc(ctypes.Structure):
    """The first fields of PyUFuncObject."""

    _fields_ = (
        ("header", ctypes.c_char * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
    )


_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@cache
def inner_loop(op: str, dtype: str) -> InnerLoop | None:
    """Return NumPy's loop for a function of arrays of one dtype; None if there is none that can be relied on."""
    function = getattr(xp, op, None)
    if not isinstance(function, np.ufunc):
        return None
    found = _read(function, dtype)
    return found if found is not None and _has_the_bits_of(function, found, dtype) else None


def _read(function: np.ufunc, dtype: str) -> InnerLoop | None:
    """Return what the ufunc holds for arguments and a result of the dtype."""
    kind = np.dtype(dtype).char
    signature = f"{kind * function.nin}->{kind * function.nout}"
    held = _Ufunc.from_address(id(function))
    counts = held.nin, held.nout, held.nargs, held.ntypes
    if counts != (function.nin, function.nout, function.nargs, function.ntypes) or signature not in function.types:
        return None
    i = function.types.index(signature)
    return InnerLoop(held.functions[i], held.data[i]) if held.functions[i] else None


def _has_the_bits_of(function: np.ufunc, found: InnerLoop, dtype: str) -> bool:
    """Return whether the loop has, piece by piece, the bits that the ufunc has on whole arrays, however these lie."""
    x = _samples(dtype)
    args = [np.roll(x, 7 * i) for i in range(function.nin)]
    with np.errstate(all="ignore"):
        expected = function(*args)
        strided = function(*(np.repeat(arg, 3)[::3] for arg in args))
    result = np.empty_like(expected)
    for size in _PIECES:
        result[:] = 42
        for first in range(0, len(x), size):
            _run(found, [arg[first : first + size] for arg in (*args, result)])
        if not _same_bits(result, expected):
            return False
    return _same_bits(strided, expected)


def _run(found: InnerLoop, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Run a loop over contiguous arrays, the last of which it writes."""
    addresses = (ctypes.c_void_p * len(arrays))(*(x.ctypes.data for x in arrays))
    strides = (ctypes.c_ssize_t * len(arrays))(*(x.itemsize for x in arrays))
    _PROTOTYPE(found.loop)(addresses, ctypes.byref(ctypes.c_ssize_t(len(arrays[-1]))), strides, found.data)


def _samples(dtype: str) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    if kind.kind == "i":
        info = np.iinfo(kind)
        return np.array([*range(-30, 30), info.max, info.min], kind)
    limits = np.finfo(kind)
    edges = [0.0, np.inf, np.nan, limits.max, limits.tiny, limits.smallest_subnormal, limits.eps, 1.0, 1e5, 1e10]
    positive = np.concatenate([np.array(edges, kind), np.linspace(0.01, 40, 60).astype(kind)])
    return np.concatenate([positive, -positive])


def _same_bits(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> bool:
    """Return whether two arrays have the same bits; one NaN is as good as another."""
    bits = f"u{x.itemsize}"
    return bool(((x.view(bits) == y.view(bits)) | (np.isnan(x) & np.isnan(y))).all())
