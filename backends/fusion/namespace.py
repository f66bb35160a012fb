"""The Python Array API as a namespace of symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from uniopt.backends.fusion.functions import (
    DTYPES,
    ELEMENTWISE,
    REDUCTIONS,
    WHOLE,
    broadcast_shape,
    constant,
    elementwise,
    fits,
    operand,
    record,
    reduce,
    result_type,
    whole,
)
from uniopt.backends.fusion.operations import HALVES
from uniopt.backends.fusion.symbol import NotRecordable, Symbol


class Namespace:
    """The namespace of symbols; dtypes are their own names."""

    e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None

    def __getattr__(self, name: str) -> Any:
        if name in DTYPES:
            return name
        if name in ELEMENTWISE:
            return partial(elementwise, name)
        if name in REDUCTIONS:
            return partial(reduce, name)
        if name in WHOLE:
            return partial(whole, name)
        raise NotRecordable(f"{name} cannot be recorded")

    def where(self, condition: Any, x: Any, y: Any, /) -> Symbol:
        condition, x, y = map(operand, (condition, x, y))
        dtype = result_type(*(v for v in (x, y)))
        if dtype in HALVES:  # float32 holds them exactly, and kernels compute in it
            x, y = (self.astype(v, "float32") if isinstance(v, Symbol) else v for v in (x, y))
            return self.astype(self.where(condition, x, y), dtype)
        return record("where", (condition, x, y), broadcast_shape(condition, x, y), dtype)

    def astype(self, x: Symbol, dtype: str, /, *, copy: bool = True, device: Any = None) -> Symbol:
        x = operand(x)
        return x if x.dtype == dtype else record("astype", (x,), x.shape, dtype)

    def clip(self, x: Symbol, /, min: Any = None, max: Any = None) -> Symbol:
        low = x if min is None else self.maximum(x, min)
        return low if max is None else self.minimum(low, max)

    def pow(self, x: Any, y: Any, /) -> Symbol:
        return self._power("pow", x, y)

    def power(self, x: Any, y: Any, /) -> Symbol:
        """The operator **, which in NumPy computes the power of a scalar otherwise than the function."""
        return self._power("power", x, y)

    def _power(self, scalars: str, x: Any, y: Any) -> Symbol:
        # NumPy's operator does the same with these exponents, and multiplication is what kernels have.
        number = isinstance(y, int | float) and not isinstance(y, bool)
        if isinstance(x, Symbol) and x.shape and number and fits(y, x.dtype):
            if y == 2:
                return self.multiply(x, x)  # type: ignore[no-any-return]
            if y in (0.5, 1):
                return self.sqrt(x) if y == 0.5 else x
        one = broadcast_shape(*(v for v in (x, y) if isinstance(v, Symbol))) == ()
        return elementwise(scalars if one else "pow", x, y)

    def square(self, x: Symbol, /) -> Symbol:
        return self.multiply(x, x)  # type: ignore[no-any-return]

    def mean(self, x: Symbol, /, *, axis: Any = None, keepdims: bool = False) -> Symbol:
        total = reduce("sum", x, axis=axis, keepdims=keepdims)
        return self.divide(total, float(x.size // max(total.size, 1)))  # type: ignore[no-any-return]

    def zeros(self, shape: Any, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full(shape, 0.0, dtype=dtype or "float64")

    def ones(self, shape: Any, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full(shape, 1.0, dtype=dtype or "float64")

    def full(self, shape: Any, value: Any, *, dtype: str | None = None, device: Any = None) -> Symbol:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        value = operand(value) if hasattr(value, "dtype") else value
        if isinstance(value, Symbol):
            return self.broadcast_to(value if dtype is None else self.astype(value, dtype), shape)
        return constant(value, shape, dtype or np.asarray(value).dtype.name)

    def empty_like(self, x: Symbol, /, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full_like(x, 0, dtype=dtype)

    def zeros_like(self, x: Symbol, /, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full_like(x, 0, dtype=dtype)

    def ones_like(self, x: Symbol, /, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full_like(x, 1, dtype=dtype)

    def full_like(self, x: Symbol, /, value: Any, *, dtype: str | None = None, device: Any = None) -> Symbol:
        return self.full(x.shape, value, dtype=dtype or x.dtype)

    def arange(
        self, start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
    ) -> Symbol:
        args = (0, start, step) if stop is None else (start, stop, step)
        found = np.arange(*args)
        return record("arange", args, found.shape, dtype or found.dtype.name)

    def asarray(self, x: Any, /, *, dtype: str | None = None, device: Any = None, copy: Any = None) -> Symbol:
        x = operand(x) if hasattr(x, "dtype") else x
        if isinstance(x, Symbol):
            return x if dtype is None else self.astype(x, dtype)
        array = np.asarray(x, dtype=dtype)
        if array.ndim == 0:
            return constant(array.item(), (), array.dtype.name)
        return record("asarray", (array.tolist(),), array.shape, array.dtype.name)

    def reshape(self, x: Symbol, /, shape: Sequence[int], *, copy: Any = None) -> Symbol:
        shape = _filled(x.size, tuple(shape))
        if x.op == "arange" and shape != ():  # in the order of memory
            return record("arange", x.args, shape, x.dtype)
        return x if shape == x.shape else record("reshape", (x, shape), shape, x.dtype)

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
        return record("permute_dims", (x, axes), tuple(x.shape[a] for a in axes), x.dtype)

    def moveaxis(self, x: Symbol, source: Any, destination: Any, /) -> Symbol:
        sources, targets = ([source], [destination]) if isinstance(source, int) else (source, destination)
        moves = sorted((b % x.ndim, a % x.ndim) for a, b in zip(sources, targets, strict=True))
        axes = [a for a in range(x.ndim) if all(a != moved for _, moved in moves)]
        for target, moved in moves:
            axes.insert(target, moved)
        return self.permute_dims(x, tuple(axes))

    def flip(self, x: Symbol, /, *, axis: Any = None) -> Symbol:
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        flipped = {a % x.ndim for a in axes}
        return self.getitem(x, tuple(slice(None, None, -1) if a in flipped else slice(None) for a in range(x.ndim)))

    def unstack(self, x: Symbol, /, *, axis: int = 0) -> tuple[Symbol, ...]:
        first = self.moveaxis(x, axis, 0)
        return tuple(first[i] for i in range(first.shape[0]))

    def broadcast_arrays(self, *arrays: Symbol) -> list[Symbol]:
        shape = broadcast_shape(*arrays)
        return [self.broadcast_to(x, shape) for x in arrays]

    def matrix_transpose(self, x: Symbol, /) -> Symbol:
        return self.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))

    def broadcast_to(self, x: Symbol, /, shape: tuple[int, ...]) -> Symbol:
        shape = tuple(shape)
        return x if shape == x.shape else record("broadcast_to", (x, shape), shape, x.dtype)

    def matmul(self, x: Symbol, y: Symbol, /) -> Symbol:
        x, y = operand(x), operand(y)
        return record("matmul", (x, y), _matmul_shape(x.shape, y.shape), result_type(x, y))

    def concat(self, arrays: Sequence[Symbol], /, *, axis: int = 0) -> Symbol:
        first = arrays[0]
        axis = axis % first.ndim
        length = sum(x.shape[axis] for x in arrays)
        shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
        return record("concat", (tuple(arrays),), shape, result_type(*arrays), axis=axis)

    def stack(self, arrays: Sequence[Symbol], /, *, axis: int = 0) -> Symbol:
        return self.concat([self.expand_dims(x, axis=axis) for x in arrays], axis=axis)

    def getitem(self, x: Symbol, key: Any, /) -> Symbol:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts):
            raise NotRecordable("indexing by an array cannot be recorded")
        shape = np.broadcast_to(np.empty(()), x.shape)[key].shape
        frozen = tuple(("slice", p.start, p.stop, p.step) if isinstance(p, slice) else p for p in parts)
        return record("getitem", (x, frozen), shape, x.dtype)

    def finfo(self, of: Any, /) -> Any:
        return np.finfo(of.dtype if isinstance(of, Symbol) else of)

    def iinfo(self, of: Any, /) -> Any:
        return np.iinfo(of.dtype if isinstance(of, Symbol) else of)

    def can_cast(self, of: Any, to: str, /) -> bool:
        return bool(np.can_cast(of.dtype if isinstance(of, Symbol) else of, to))

    def isdtype(self, dtype: str, kind: Any) -> bool:
        return bool(np.isdtype(np.dtype(dtype), kind)) if dtype != "bfloat16" else "real floating" in (kind, *kind)

    def result_type(self, *arrays_and_dtypes: Any) -> str:
        return result_type(*arrays_and_dtypes)


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
