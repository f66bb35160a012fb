"""The step count as schedules compute with it: a Python float, or a floating-point array."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

from uniopt.backends import registry
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


def as_time(count: Scalar) -> tuple[Any, Scalar]:
    """Return a namespace and the count as a floating-point number of it: float64 where the array's device has it."""
    if isinstance(count, int | float):
        return PythonMath, float(count)
    backend = registry.backend_of(count)
    wide = "float64" if backend.has_float64(count) else "float32"
    return backend.xp, backend.astype(count, backend.dtype(wide))


def of_time(f: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """Make a schedule, which takes the step count as it comes, of ``f(xp, n, ...)`` of the time `n`."""

    @functools.wraps(f)
    def schedule(count: Scalar, /, **parameters: Any) -> Scalar:
        xp, n = as_time(count)
        value = f(xp, n, **parameters)
        # NumPy's arithmetic makes scalars of 0-d arrays.
        return value if xp is PythonMath else registry.backend_of(value).astype(value, value.dtype)

    return schedule


def since(xp: Any, n: Scalar, begin: float) -> Scalar:
    """Return the time since `begin`, 0 before it."""
    return xp.maximum(n - float(begin), 0.0)


def whole(xp: Any, n: Scalar, length: float) -> Scalar:
    """Return how many times a length fits into the time: the quotient, rounded down.

    Under ``jax.jit`` a division by a constant becomes a multiplication, after which 41 / 41 is below 1 in float32. So
    the quotient only tells which multiple of the length is near.
    """
    near = xp.round(n / float(length))
    return xp.where(n < near * float(length), near - 1.0, near)


def power(xp: Any, base: Scalar, exponent: Scalar) -> Scalar:
    """Return ``base**exponent``, or where it nears infinity, of which Python and NumPy complain, what it was before."""
    if isinstance(base, float) and base > 1.0:
        exponent = xp.minimum(exponent, 700.0 / math.log(base))
    return xp.pow(base, exponent)  # NumPy's operator ** computes the power of a scalar otherwise
