"""What the library on a device does of a recording: matrix products, random numbers, views, and whatever is no loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from uniopt.backends.fusion.bfloat16 import narrow, widen
from uniopt.backends.fusion.schedule import VIEWS, Output
from uniopt.backends.fusion.symbol import NotRecordable, Symbol


@dataclass(frozen=True)
class Calls:
    """Calls of the library's functions, and copies of their results.

    Attributes
    ----------
    symbols
        What is computed, in this order.
    copies
        Results that belong into inputs, each with the position of the gradient without which it does not; -1: none.
    """

    symbols: list[Symbol]
    copies: list[tuple[Output, int]]


def check(xp: Any, symbol: Symbol) -> None:
    """Raise NotRecordable if the library cannot compute a symbol."""
    dtypes = {symbol.dtype, *(x.dtype for x in symbol.args if isinstance(x, Symbol))}
    if "bfloat16" in dtypes and symbol.op not in ("constant", "astype", *VIEWS):
        raise NotRecordable(f"{symbol.op} of bfloat16")
    if symbol.op not in ("constant", "getitem") and not hasattr(xp, symbol.op):
        raise NotRecordable(f"{symbol.op}, which the library does not have,")


def evaluate(xp: Any, symbol: Symbol, value: Callable[[Any], Any]) -> Any:
    """Return the array of a symbol; `value` gives those of its arguments, bfloat16 as its bits in uint16."""
    if 0 in symbol.shape:
        return empty(xp, symbol)
    args = [value(x) for x in symbol.args]
    match symbol.op:
        case "constant":
            found = xp.full(symbol.shape, *args, dtype="float32" if symbol.dtype == "bfloat16" else symbol.dtype)
        case "astype":
            found = widen(args[0], xp) if symbol.args[0].dtype == "bfloat16" else args[0]
        case "arange":
            found = xp.reshape(xp.arange(*args, dtype=symbol.dtype), symbol.shape)
        case "getitem":
            x, key = args
            found = x[tuple(slice(*part[1:]) if isinstance(part, tuple) else part for part in key)]
        case _:
            found = getattr(xp, symbol.op)(*args, **dict(symbol.keywords))
    if symbol.dtype == "bfloat16" and symbol.op in ("constant", "astype"):
        found = narrow(found, xp)
    found = xp.asarray(found, dtype=memory_dtype(xp, symbol))
    # Kernels read numbers when the array that one is an element of may have been overwritten.
    return found.copy() if symbol.shape == () and symbol.op in VIEWS else found


def empty(xp: Any, symbol: Symbol) -> Any:
    """Return an array like that of a symbol, with whatever is in its memory."""
    return xp.empty(symbol.shape, dtype=memory_dtype(xp, symbol))


def number(constant: Symbol) -> Any:
    """Return a 0-d constant as a NumPy scalar, which keeps its dtype wherever it goes."""
    (value,) = constant.args
    return narrow(value)[()] if constant.dtype == "bfloat16" else np.dtype(constant.dtype).type(value)


def memory_dtype(xp: Any, symbol: Symbol) -> Any:
    """Return the library's dtype in which it holds a symbol's elements."""
    return getattr(xp, "uint16" if symbol.dtype == "bfloat16" else symbol.dtype)
