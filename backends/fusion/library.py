"""What the library on a device does of a recording: matrix products, random numbers, views, and whatever is no loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from uniopt.backends.fusion.recording import NotRecordable, Symbol
from uniopt.backends.fusion.schedule import VIEWS, Output


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

    def __post_init__(self) -> None:
        for symbol in self.symbols:
            dtypes = {symbol.dtype, *(x.dtype for x in symbol.args if isinstance(x, Symbol))}
            if "bfloat16" in dtypes and symbol.op not in VIEWS and 0 not in symbol.shape:
                raise NotRecordable(f"{symbol.op} of bfloat16")


def evaluate(xp: Any, symbol: Symbol, value: Callable[[Any], Any]) -> Any:
    """Return the array of a symbol; `value` gives those of its arguments, bfloat16 as its bits in uint16."""
    dtype = getattr(xp, "uint16" if symbol.dtype == "bfloat16" else symbol.dtype)
    if 0 in symbol.shape:
        return xp.empty(symbol.shape, dtype=dtype)
    args = [value(x) for x in symbol.args]
    match symbol.op:
        case "constant":
            found = xp.full(symbol.shape, *args, dtype=dtype)
        case "arange":
            found = xp.arange(*args, dtype=dtype)
        case "astype":
            found = xp.astype(*args, dtype)
        case "getitem":
            x, key = args
            found = x[tuple(slice(*part[1:]) if isinstance(part, tuple) else part for part in key)]
        case _:
            found = getattr(xp, symbol.op)(*args, **dict(symbol.keywords))
    return xp.asarray(found, dtype=dtype)


def number(constant: Symbol) -> Any:
    """Return a 0-d constant as a NumPy scalar, which keeps its dtype wherever it goes."""
    return np.dtype(constant.dtype).type(constant.args[0])
