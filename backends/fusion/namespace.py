"""The Python Array API as functions of symbols: what shape and dtype comes out, and the note that it is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from uniopt.backends.fusion.recording import NotRecordable, Symbol, current

_TO_BOOL = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite", "signbit",
}  # fmt: skip
_TO_REAL = {"abs", "real", "imag"}
_KEPT = {
    "add", "subtract", "multiply", "negative", "positive", "square", "sign", "maximum", "minimum", "floor", "ceil",
    "trunc", "round", "pow", "remainder", "floor_divide", "conj", "copysign", "clip",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift", "bitwise_right_shift",
}  # fmt: skip
_TO_FLOAT = {
    "divide", "sqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "atan2", "hypot", "logaddexp", "reciprocal",
}  # fmt: skip
ELEMENTWISE = _TO_BOOL | _TO_REAL | _KEPT | _TO_FLOAT | {"where", "astype"}
_DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
_REAL = {"complex64": "float32", "complex128": "float64"}


class Namespace:
    """The namespace of symbols; dtypes are their own names."""

    e, pi, inf, nan, newaxis = np.e, np.pi, np.inf, np.nan, None

    def __getattr__(self, name: str) -> Any:
        if name in _DTYPES:
            return name
        if name in ELEMENTWISE:
            return partial(_elementwise, name)
        if name in ("sum", "max", "min", "prod", "any", "all"):
            return partial(_reduce, name)
        raise NotRecordable(f"{name} cannot be recorded")

    def where(self, condition: Any, x: Any, y: Any, /) -> Symbol:
        condition, x, y = map(operand, (condition, x, y))
        dtype = _result_type(*(v for v in (x, y)))
        return _record("where", (condition, x, y), _shape(condition, x, y), dtype)

    def astype(self, x: Symbol, dtype: str, /, *, copy: bool = True, device: Any = None) -> Symbol:
        x = operand(x)
        return x if x.dtype == dtype else _record("astype", (x,), x.shape, dtype)

    def clip(self, x: Symbol, /, min: Any = None, max: Any = None) -> Symbol:
        low = x if min is None else self.maximum(x, min)
        return low if max is None else self.minimum(low, max)

    def pow(self, x: Any, y: Any, /) -> Symbol:
        # NumPy's operator ** does the same with these exponents, and multiplication is what kernels have.
        if isinstance(x, Symbol) and x.shape and isinstance(y, int | float) and not isinstance(y, bool):
            if y == 2:
                return self.multiply(x, x)  # type: ignore[no-any-return]
            if y in (0.5, 1):
                return self.sqrt(x) if y == 0.5 else x
        return _elementwise("pow", x, y)

    def square(self, x: Symbol, /) -> Symbol:
        return self.multiply(x, x)  # type: ignore[no-any-return]

    def mean(self, x: Symbol, /, *, axis: Any = None, keepdims: bool = False) -> Symbol:
        total = _reduce("sum", x, axis=axis, keepdims=keepdims)
        return self.divide(total, float(x.size // max(total.size, 1)))  # type: ignore[no-any-return]

    def zeros_like(self, x: Symbol, /, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full_like(x, 0, dtype=dtype)

    def ones_like(self, x: Symbol, /, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full_like(x, 1, dtype=dtype)

    def full_like(self, x: Symbol, /, value: Any, *, dtype: str | None = None, device: Any = None) -> Symbol:
        if isinstance(value, Symbol):
            return self.broadcast_to(self.astype(value, dtype or x.dtype), x.shape)
        return _record("constant", (value,), x.shape, dtype or x.dtype)

    def arange(
        self, start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
    ) -> Symbol:
        first, last = (0, start) if stop is None else (start, stop)
        length = len(range(int(first), int(last), int(step)))
        return _record("arange", (first, last, step), (length,), dtype or "int64")

    def asarray(self, x: Any, /, *, dtype: str | None = None, device: Any = None, copy: Any = None) -> Symbol:
        x = operand(x) if hasattr(x, "dtype") else x
        if isinstance(x, Symbol):
            return x if dtype is None else self.astype(x, dtype)
        array = np.asarray(x, dtype=dtype)
        if array.ndim == 0:
            return _record("constant", (array.item(),), (), array.dtype.name)
        return _record("asarray", (array.tolist(),), array.shape, array.dtype.name)

    def reshape(self, x: Symbol, /, shape: Sequence[int], *, copy: Any = None) -> Symbol:
        shape = _filled(x.size, tuple(shape))
        return x if shape == x.shape else _record("reshape", (x, shape), shape, x.dtype)

    def expand_dims(self, x: Symbol, /, *, axis: int = 0) -> Symbol:
        axis = axis % (x.ndim + 1)
        return self.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))

    def squeeze(self, x: Symbol, /, axis: int | tuple[int, ...]) -> Symbol:
        gone = {a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
        return self.reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in gone))

    def permute_dims(self, x: Symbol, /, axes: tuple[int, ...]) -> Symbol:
        axes = tuple(a % x.ndim for a in axes)
        if axes == tuple(range(x.ndim)):
            return x
        return _record("permute_dims", (x, axes), tuple(x.shape[a] for a in axes), x.dtype)

    def matrix_transpose(self, x: Symbol, /) -> Symbol:
        return self.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))

    def broadcast_to(self, x: Symbol, /, shape: tuple[int, ...]) -> Symbol:
        shape = tuple(shape)
        return x if shape == x.shape else _record("broadcast_to", (x, shape), shape, x.dtype)

    def matmul(self, x: Symbol, y: Symbol, /) -> Symbol:
        x, y = operand(x), operand(y)
        return _record("matmul", (x, y), _matmul_shape(x.shape, y.shape), _result_type(x, y))

    def concat(self, arrays: Sequence[Symbol], /, *, axis: int = 0) -> Symbol:
        first = arrays[0]
        axis = axis % first.ndim
        length = sum(x.shape[axis] for x in arrays)
        shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
        return _record("concat", (tuple(arrays),), shape, _result_type(*arrays), axis=axis)

    def stack(self, arrays: Sequence[Symbol], /, *, axis: int = 0) -> Symbol:
        return self.concat([self.expand_dims(x, axis=axis) for x in arrays], axis=axis)

    def getitem(self, x: Symbol, key: Any, /) -> Symbol:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts):
            raise NotRecordable("indexing by an array cannot be recorded")
        shape = np.broadcast_to(np.empty(()), x.shape)[key].shape
        frozen = tuple(("slice", p.start, p.stop, p.step) if isinstance(p, slice) else p for p in parts)
        return _record("getitem", (x, frozen), shape, x.dtype)

    def isdtype(self, dtype: str, kind: Any) -> bool:
        return bool(np.isdtype(np.dtype(dtype), kind)) if dtype != "bfloat16" else "real floating" in (kind, *kind)

    def result_type(self, *arrays_and_dtypes: Any) -> str:
        return _result_type(*arrays_and_dtypes)


def _record(op: str, args: tuple[Any, ...], shape: tuple[int, ...], dtype: str, **keywords: Any) -> Symbol:
    return current().record(op, args, tuple(sorted(keywords.items())), tuple(int(n) for n in shape), dtype)


def operand(x: Any) -> Any:
    """Return what an operation is recorded with: a symbol, of an array that the program holds too, or a number."""
    if isinstance(x, Symbol) or (isinstance(x, bool | int | float | complex) and not isinstance(x, np.generic)):
        return x
    captured = current().capture(x)
    if captured is None and not isinstance(x, np.generic):
        raise NotRecordable(f"an operation with {type(x).__name__}")
    return x.item() if captured is None else captured


def _elementwise(op: str, *args: Any) -> Symbol:
    args = tuple(map(operand, args))
    dtype = _result_type(*args)
    if op in _TO_BOOL:
        result = "bool"
    elif op in _TO_REAL:
        result = _REAL.get(dtype, dtype)
    else:
        result = "float64" if op in _TO_FLOAT and not dtype.startswith(("float", "bfloat", "complex")) else dtype
    return _record(op, args, _shape(*args), result)


def _reduce(op: str, x: Symbol, /, *, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Symbol:
    x = operand(x)
    if axis is None:
        axes = tuple(range(x.ndim))
    else:
        axes = tuple(sorted(a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)))
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes)
    if op in ("any", "all"):
        result = "bool"
    elif op in ("sum", "prod") and x.dtype.startswith(("int", "bool")):
        result = "int64"
    else:
        result = x.dtype
    if dtype is not None and dtype != result:
        x, result = _record("astype", (x,), x.shape, dtype), dtype
    return _record(op, (x,), shape, result, axis=axes, keepdims=keepdims)


def _shape(*args: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(*(x.shape for x in args if isinstance(x, Symbol)))


def _result_type(*args: Any) -> str:
    """Return the dtype of an operation's result; Python numbers adapt to the arrays they meet."""
    names = [x.dtype if isinstance(x, Symbol) else x for x in args if isinstance(x, Symbol | str)]
    numbers = [x for x in args if isinstance(x, bool | int | float | complex)]
    if len(names) + len(numbers) != len(args):
        other = next(x for x in args if not isinstance(x, Symbol | str | bool | int | float | complex))
        raise NotRecordable(f"an operation with {type(other).__name__}")
    if len(set(names)) == 1 and all(_fits(number, names[0]) for number in numbers):
        return names[0]
    if "bfloat16" in names:
        raise NotRecordable("bfloat16 meets another dtype, which libraries promote differently;")
    return np.result_type(*(np.dtype(name) for name in names), *numbers).name


def _fits(number: complex, dtype: str) -> bool:
    """Return whether a Python number takes on the dtype of the array that it meets."""
    if isinstance(number, bool):
        return True
    if isinstance(number, int):
        return dtype != "bool"
    return dtype.startswith(("float", "bfloat", "complex") if isinstance(number, float) else "complex")


def _filled(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape with its -1 worked out."""
    if -1 not in shape:
        return shape
    known = int(np.prod([n for n in shape if n != -1], dtype=np.int64))
    return tuple(size // max(known, 1) if n == -1 else n for n in shape)


def _matmul_shape(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
    a, b = (x if len(x) > 1 else (1, *x)), (y if len(y) > 1 else (*y, 1))
    if a[-1] != b[-2]:
        raise ValueError(f"matmul: shapes {x} and {y} do not fit")
    rows, columns = (a[-2],) if len(x) > 1 else (), (b[-1],) if len(y) > 1 else ()
    return (*np.broadcast_shapes(a[:-2], b[:-2]), *rows, *columns)
