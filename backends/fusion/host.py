"""What the host computes between two passes: scalars, views, matrix products, and all that kernels do not have.

A turn becomes one straight-line Python function that calls NumPy just as eager uniopt does, on the same numbers in the
same order, so that its results have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from uniopt.backends.fusion.bfloat16 import narrow, widen
from uniopt.backends.fusion.recording import NotRecordable, Symbol
from uniopt.backends.fusion.schedule import Turn

_OPERATORS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "pow": "**", "matmul": "@",
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
    "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "floor_divide": "//", "remainder": "%",
}  # fmt: skip
# Where NumPy has a 0-d array, and no scalar. The power of a scalar is a function of its own, another in the last bit.
_ARRAYS = {"input", "constant", "asarray", "astype", "where", "reshape", "permute_dims", "broadcast_to"}


def compile_turn(
    turn: Turn, is_reduced: Callable[[Symbol], bool], inputs: dict[Symbol, int], scalars: Iterable[Symbol] = ()
) -> tuple[Callable[..., None] | None, list[int]]:
    """Return the function of a turn, and the positions of the inputs whose arrays it reads or writes.

    The function is called with the list of values by symbol, the input arrays by position, and a function that returns
    the result of a kernel's reduction. `scalars` are inputs whose values are wanted besides.
    """
    lines: list[str] = []
    constants: dict[str, Any] = {"xp": xp, "np": np, "widen": widen, "narrow": narrow}
    used: list[int] = []
    loaded: set[Symbol] = set()

    def name(x: Any) -> str:
        if isinstance(x, Symbol):
            if x in inputs and x not in loaded:
                loaded.add(x)
                used.append(inputs[x])
                lines.append(f"v[{x.index}] = a[{inputs[x]}]{'[()]' if x.shape == () else ''}")
            return f"v[{x.index}]"
        if isinstance(x, tuple):
            return f"({''.join(name(y) + ',' for y in x)})"
        constants[f"c{len(constants)}"] = x
        return f"c{len(constants) - 1}"

    for symbol in scalars:
        name(symbol)
    for symbol in turn.symbols:
        text = f"reduced({symbol.index})" if is_reduced(symbol) else _expression(symbol, name)
        lines.append(f"v[{symbol.index}] = {text}")
    for out in turn.copies:
        value = name(out.symbol)
        used.append(inputs[out.target])
        lines.append(f"a[{inputs[out.target]}][...] = {value}")
    if not lines:
        return None, []
    body = "\n    ".join(lines)
    exec(compile(f"def run(v, a, reduced):\n    {body}", "<turn>", "exec"), constants)
    return constants["run"], used


def _expression(symbol: Symbol, name: Callable[[Any], str]) -> str:
    op, args = symbol.op, symbol.args
    if "bfloat16" in {symbol.dtype, *(x.dtype for x in args if isinstance(x, Symbol))}:
        return _bfloat16(symbol, name)
    if op == "constant":
        text = name(args[0])
        return text if symbol.shape == () else f"np.full({symbol.shape!r}, {text}, dtype={symbol.dtype!r})"
    if op == "astype":
        text = name(args[0])
        target = f"np.{symbol.dtype}" if symbol.dtype != "bool" else "np.bool_"
        return f"{target}({text})" if symbol.shape == () else f"np.asarray({text}, dtype={target})"
    if op == "pow" and symbol.shape == ():
        arrays = (isinstance(x, Symbol) and x.op in _ARRAYS for x in args)
        return " ** ".join(
            f"np.asarray({name(x)})" if known else name(x) for x, known in zip(args, arrays, strict=True)
        )
    if op in _OPERATORS and len(args) == 2:
        return f"{name(args[0])} {_OPERATORS[op]} {name(args[1])}"
    if op == "negative":
        return f"-{name(args[0])}"
    if op == "getitem":
        return f"{name(args[0])}[{name(_key(args[1]))}]"
    if op == "asarray":
        return f"np.asarray({name(args[0])}, dtype={symbol.dtype!r})"
    if op == "arange":
        return f"np.arange({', '.join(map(name, args))}, dtype={symbol.dtype!r})"
    keywords = "".join(f", {key}={value!r}" for key, value in symbol.keywords)
    text = f"xp.{op}({', '.join(map(name, args))}{keywords})"
    return f"{text}[()]" if symbol.shape == () else text  # NumPy computes with scalars faster than with 0-d arrays


def _bfloat16(symbol: Symbol, name: Callable[[Any], str]) -> str:
    """Return the expression where bfloat16 occurs, which the host holds as its bits in uint16."""
    (x, *rest) = symbol.args
    if symbol.op == "astype" and symbol.dtype == "bfloat16":
        return f"narrow({name(x)})"
    if symbol.op == "astype":
        return f"np.asarray(widen({name(x)}), dtype={symbol.dtype!r}){'[()]' if symbol.shape == () else ''}"
    if symbol.op in ("reshape", "permute_dims", "broadcast_to"):
        return f"xp.{symbol.op}({name(x)}, {name(rest[0])})"
    raise NotRecordable(f"{symbol.op} of bfloat16")


def _key(frozen: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(slice(*p[1:]) if isinstance(p, tuple) else p for p in frozen)
