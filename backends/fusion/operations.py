"""Which operations kernels have, with the same bits as NumPy's; the others are run by the library."""

from __future__ import annotations

from uniopt.backends.fusion.inner_loops import CALLED, DIVISIONS, inner_loop
from uniopt.backends.fusion.schedule import VIEWS
from uniopt.backends.fusion.symbol import Symbol, symbols_in

FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")
HALVES = ("float16", "bfloat16")
STORED = (*FLOATS, *INTEGERS, *HALVES, "bool")
"""The dtypes that kernels can load and store; the host copies the others."""
_ARITHMETIC = {"add", "subtract", "multiply", "negative", "positive", "abs", "sign", "maximum", "minimum"}
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_FLOAT_ONLY = {
    "divide", "reciprocal", "sqrt", "floor", "ceil", "trunc", "round", "copysign", "signbit",
    "isnan", "isfinite", "isinf",
}  # fmt: skip
_BITWISE = {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift", "bitwise_right_shift"}
_LOGICAL = {
    "logical_and", "logical_or", "logical_xor", "logical_not", "equal", "not_equal",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert",
}  # fmt: skip


def is_fusible(symbol: Symbol) -> bool:
    """Return whether kernels have the symbol's operation for its dtypes, with the same bits as NumPy's."""
    dtypes = {x.dtype for x in symbol.args if isinstance(x, Symbol)}
    op = symbol.op
    if op == "astype":
        known = (*FLOATS, *INTEGERS, "bool")
        (source,) = dtypes
        return (source in known and symbol.dtype in known) or (
            {source, symbol.dtype} <= {*FLOATS, *HALVES} and bool({source, symbol.dtype} & {"float32"})
        )
    if op == "where":
        return (
            symbol.args[0].dtype == "bool"
            and symbol.dtype in (*FLOATS, *INTEGERS, "bool")
            and dtypes <= {"bool", symbol.dtype}
        )
    if op in CALLED:
        return _is_called(symbol, dtypes)
    if dtypes <= {*FLOATS}:
        return op in _ARITHMETIC | _COMPARISONS | _FLOAT_ONLY
    if dtypes <= {*INTEGERS}:
        return op in _ARITHMETIC | _COMPARISONS | _BITWISE and not any(isinstance(x, float) for x in symbol.args)
    # True == 2 is False, though both are true.
    numbers = op in _COMPARISONS and not all(isinstance(x, Symbol | bool) for x in symbol.args)
    return dtypes == {"bool"} and op in _LOGICAL and not numbers


def _is_called(symbol: Symbol, dtypes: set[str]) -> bool:
    """Return whether kernels call NumPy's loop for it."""
    known = INTEGERS if symbol.op in DIVISIONS and symbol.dtype in INTEGERS else FLOATS
    if symbol.dtype not in known or not dtypes <= {*known} or any(map(_is_reversed, symbols_in(symbol.args))):
        return False
    return inner_loop(symbol.op, symbol.dtype) is not None


def _is_reversed(x: Symbol) -> bool:
    """Return whether it is a view of elements backwards, of which NumPy's loops have other bits on some processors."""
    while x.op in VIEWS:
        if x.op == "getitem" and any(isinstance(part, tuple) and (part[3] or 1) < 0 for part in x.args[1]):
            return True
        x = x.args[0]
    return bool(x.op == "input" and x.args[1])
