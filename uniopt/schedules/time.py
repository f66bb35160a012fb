"""The step count as schedules compute with it: a Python float, or a floating-point array."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

from uniopt import tree
from uniopt.backends import registry
from uniopt.backends.protocol import Backend
from uniopt.typing import Scalar


class PythonMath:
    """The functions of the array API that schedules use, for Python numbers."""

    cos = staticmethod(math.cos)
    log = staticmethod(math.log)
    pow = staticmethod(operator.pow)

    @staticmethod
    def round(x: float) -> float:
        return float(round(x))

    @staticmethod
    def minimum(x: float, y: float) -> float:
        return min(x, y)

    @staticmethod
    def maximum(x: float, y: float) -> float:
        return max(x, y)

    @staticmethod
    def where(condition: bool, x: float, y: float) -> float:
        return x if condition else y


def as_time(count: Scalar, *met: Any) -> tuple[Any, Scalar]:
    """Return a namespace and the count as a floating-point number of it: float64 where the array's device has it.

    A count that is a number, or of NumPy, becomes an array where it meets arrays of another library.
    """
    backend = registry.find(type(count))
    if backend is None or backend.name == "numpy":
        for x in tree.leaves(met):
            if (found := registry.find(type(x))) not in (None, backend):
                return found.xp, found.asarray(count, dtype=_wide(found, x), like=x)
    if backend is None:
        return PythonMath, float(count)
    return backend.xp, backend.astype(count, _wide(backend, count))


def _wide(backend: Backend, like: Any) -> Any:
    return backend.dtype("float64" if backend.has_float64(like) else "float32")


def of_time(f: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """Make a schedule, which takes the step count as it comes, of ``f(xp, n, ...)`` of the time `n`."""

    @functools.wraps(f)
    def schedule(count: Scalar, /, **parameters: Any) -> Scalar:
        xp, n = as_time(count, *parameters.values())
        value = f(xp, n, **parameters)
        # NumPy's arithmetic makes scalars of 0-d arrays.
        return value if xp is PythonMath else registry.backend_of(value).astype(value, value.dtype)

    return schedule


def since(xp: Any, n: Scalar, begin: float) -> Scalar:
    """Return the time since `begin`, 0 before it."""
    return xp.maximum(n - float(begin), 0.0)


def whole(xp: Any, n: Scalar, length: Scalar) -> Scalar:
    """Return how many times a length fits into the time: the quotient, rounded down.

    Under ``jax.jit`` a division by a constant becomes a multiplication, after which 41 / 41 is below 1 in float32. So
    the quotient only tells which multiple of the length is near.
    """
    near = xp.round(n / length)
    return xp.where(n < near * length, near - 1.0, near)


def power(xp: Any, base: Scalar, exponent: Scalar) -> Scalar:
    """Return ``base**exponent``, or where it nears infinity, of which Python and NumPy complain, what it was before."""
    if isinstance(base, float) and base > 1.0:
        exponent = xp.minimum(exponent, 700.0 / math.log(base))
    return xp.pow(base, exponent)  # NumPy's operator ** computes the power of a scalar otherwise
