"""Functions of symbols: the shapes and dtypes of their results, and the note that they are wanted."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from uniopt.backends.fusion.bfloat16 import narrow, widen
from uniopt.backends.fusion.recording import current
from uniopt.backends.fusion.symbol import NotRecordable, Symbol

_TO_BOOL = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite", "signbit",
}  # fmt: skip
_TO_REAL = {"abs", "real", "imag"}
_KEPT = {
    "add", "subtract", "multiply", "negative", "positive", "square", "sign", "maximum", "minimum", "floor", "ceil",
    "trunc", "round", "pow", "power", "remainder", "floor_divide", "conj", "copysign", "nextafter", "clip",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift", "bitwise_right_shift",
}  # fmt: skip
_TO_FLOAT = {
    "divide", "sqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "atan2", "hypot", "logaddexp", "reciprocal",
}  # fmt: skip
ELEMENTWISE = _TO_BOOL | _TO_REAL | _KEPT | _TO_FLOAT | {"where", "astype"}
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
_REAL = {"complex64": "float32", "complex128": "float64"}
REDUCTIONS = {"sum", "max", "min", "prod", "any", "all"}
WHOLE = {
    "argmax", "argmin", "argsort", "count_nonzero", "cumulative_prod", "cumulative_sum", "diff", "eye", "linspace",
    "repeat", "roll", "searchsorted", "sort", "std", "take", "take_along_axis", "tensordot", "tile", "tril", "triu",
    "var", "vecdot",
}  # fmt: skip
"""Functions of whole arrays, which the library runs as they are."""


def record(op: str, args: tuple[Any, ...], shape: tuple[int, ...], dtype: str, /, **keywords: Any) -> Symbol:
    """Return the symbol of an operation in the current recording."""
    return current().record(op, args, tuple(sorted(keywords.items())), tuple(int(n) for n in shape), dtype)


def constant(value: complex, shape: tuple[int, ...], dtype: str) -> Symbol:
    """Return the symbol of an array that has one number everywhere: the one that a number becomes in the dtype."""
    if dtype == "bfloat16":
        return record("constant", (float(widen(narrow(value))),), shape, dtype)
    return record("constant", (np.full((), value, dtype=dtype).item(),), shape, dtype)


def operand(x: Any) -> Any:
    """Return what an operation is recorded with: a symbol, of an array that the program holds too, or a number."""
    if isinstance(x, Symbol) or (isinstance(x, bool | int | float | complex) and not isinstance(x, np.generic)):
        return x
    captured = current().capture(x)
    if captured is None and not isinstance(x, np.generic):
        raise NotRecordable(f"an operation with {type(x).__name__}")
    return x.item() if captured is None else captured


def elementwise(op: str, *args: Any) -> Symbol:
    """Return the result of a function that treats every element by itself."""
    args = tuple(map(operand, args))
    dtype = result_type(*args)
    if op in ("conj", "real") and not dtype.startswith("complex"):
        return args[0]  # type: ignore[no-any-return]  # a symbol
    if op in _TO_BOOL:
        result = "bool"
    elif op in _TO_REAL:
        result = _REAL.get(dtype, dtype)
    else:
        result = "float64" if op in _TO_FLOAT and not dtype.startswith(("float", "bfloat", "complex")) else dtype
    return record(op, args, broadcast_shape(*args), result)


def reduce(op: str, x: Symbol, /, *, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Symbol:
    """Return a sum, an extremum or the like over some axes, or over all."""
    x = operand(x)
    if op in ("any", "all") and 0 not in x.shape:
        # As an extremum, it is computed in the pass that computes its operand.
        numbers = record("astype", (x if x.dtype == "bool" else elementwise("not_equal", x, 0),), x.shape, "float32")
        return elementwise("equal", reduce("max" if op == "any" else "min", numbers, axis=axis, keepdims=keepdims), 1.0)
    if axis is None:
        axes = tuple(range(x.ndim))
    else:
        axes = tuple(sorted(a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)))
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes)
    if op in ("any", "all"):
        return record("constant", (op == "all",), shape, "bool")  # of no elements
    result = x.dtype
    if op in ("sum", "prod") and not result.startswith(("float", "bfloat", "complex")):
        result = "uint64" if result.startswith("uint") else "int64"
    if dtype is not None and dtype != result:
        x, result = record("astype", (x,), x.shape, dtype), dtype
    if x.shape == () and op in ("sum", "max", "min"):
        number = x if x.dtype == result else record("astype", (x,), (), result)
        return elementwise("add", number, 0) if op == "sum" else number  # of -0.0 the sum is 0.0
    return record(op, (x,), shape, result, axis=axes, keepdims=keepdims)


def whole(op: str, *args: Any, device: Any = None, **keywords: Any) -> Symbol:
    """Return the result of a function that the library runs as it is."""
    args = tuple(tuple(x) if isinstance(x, list) else x if isinstance(x, str | tuple) else operand(x) for x in args)
    keywords = {key: tuple(x) if isinstance(x, list) else x for key, x in keywords.items()}
    return record(op, args, *_outline(op, args, keywords), **keywords)


def broadcast_shape(*args: Any) -> tuple[int, ...]:
    """Return the shape in which arrays, and numbers, meet."""
    return np.broadcast_shapes(*(x.shape for x in args if isinstance(x, Symbol)))


def result_type(*args: Any) -> str:
    """Return the dtype of an operation's result; Python numbers adapt to the arrays they meet."""
    names = [x.dtype if isinstance(x, Symbol) else x for x in args if isinstance(x, Symbol | str)]
    numbers = [x for x in args if isinstance(x, bool | int | float | complex)]
    if len(names) + len(numbers) != len(args):
        other = next(x for x in args if not isinstance(x, Symbol | str | bool | int | float | complex))
        raise NotRecordable(f"an operation with {type(other).__name__}")
    if len(set(names)) == 1 and all(fits(number, names[0]) for number in numbers):
        return names[0]
    if "bfloat16" in names:
        raise NotRecordable("bfloat16 meets another dtype, which libraries promote differently;")
    return np.result_type(*(np.dtype(name) for name in names), *numbers).name


def fits(number: complex, dtype: str) -> bool:
    """Return whether a Python number takes on the dtype of the array that it meets."""
    if isinstance(number, bool):
        return True
    if isinstance(number, int):
        return dtype != "bool"
    return dtype.startswith(("float", "bfloat", "complex") if isinstance(number, float) else "complex")


def _outline(name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[int, ...], str]:
    """Return the shape and the dtype of what a function returns for symbols and other arguments."""
    if any(isinstance(x, Symbol) for x in keywords.values()):
        raise NotRecordable(f"{name} with an array as a keyword argument cannot be recorded")
    if any(isinstance(x, Symbol) and x.dtype == "bfloat16" for x in args):
        raise NotRecordable(f"{name} of bfloat16 cannot be recorded")
    # A broadcast 0 takes no memory, whatever the shape.
    likes = (np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Symbol) else x for x in args)
    found = getattr(xp, name)(*likes, **keywords)
    return found.shape, found.dtype.name
