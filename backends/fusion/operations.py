"""Which operations kernels have, with the same bits as NumPy's; the others are run by the library."""

from __future__ import annotations

from uniopt.backends.fusion.symbol import Symbol

FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")
HALVES = ("float16", "bfloat16")
STORED = (*FLOATS, *INTEGERS, *HALVES, "bool")
"""The dtypes that kernels can load and store; the host copies the others."""
_ARITHMETIC = {"add", "subtract", "multiply", "negative", "positive", "abs", "maximum", "minimum"}
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_FLOAT_ONLY = {"divide", "sqrt", "floor", "ceil", "trunc", "sign", "isnan", "isfinite", "isinf"}
_BITWISE = {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift", "bitwise_right_shift"}
_LOGICAL = {"logical_and", "logical_or", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert"}


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
            symbol.args[0].dtype == "bool" and symbol.dtype in (*FLOATS, *INTEGERS) and dtypes <= {"bool", symbol.dtype}
        )
    if dtypes <= {*FLOATS}:
        return op in _ARITHMETIC | _COMPARISONS | _FLOAT_ONLY
    if dtypes <= {*INTEGERS}:
        return op in _ARITHMETIC | _COMPARISONS | _BITWISE and not any(isinstance(x, float) for x in symbol.args)
    return dtypes == {"bool"} and op in _LOGICAL
