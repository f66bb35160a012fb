"""Arithmetic that several rules share and that is easy to get subtly wrong."""

from __future__ import annotations

import math
from typing import Any

from uniopt.backends.dtypes import dtype_kind, dtype_name, real_dtype
from uniopt.errors import DtypeKindError
from uniopt.typing import Array, Scalar

_INT32_MAX = 2**31 - 1

# The smallest number of which float32 holds every digit. Smaller ones are 0 in it, or where a library flushes them.
_SURELY_HELD = 2.0**-126


def increment(xp: Any, count: Array) -> Array:
    """Return ``count + 1``, or `count` where an int32 can count no further."""
    return xp.minimum(count, _INT32_MAX - 1) + 1


def bias_correction(xp: Any, t: Array, decay: Scalar, ahead: int = 0) -> Scalar:
    r"""Return :math:`1 - \beta^{t + ahead}`, the weight that a moving average started from zero has by then.

    Written as ``-expm1(t * log(decay))``: in float32, ``1 - decay**t`` is wrong by 1e-5 at the first step.
    """
    t = t + ahead
    if isinstance(decay, float):
        return 1.0 if decay == 0.0 else -xp.expm1(t * math.log(decay))
    return -xp.expm1(t * xp.log(xp.astype(decay, t.dtype)))


def power(xp: Any, x: Array, exponent: Scalar) -> Array:
    """Return ``x**exponent``, of a 0-d array with the bits that it has in a larger one."""
    # NumPy's operator takes 0-d results as scalars, whose power is a function of its own. Its power function has no
    # short ways to roots, which the operator has for arrays.
    return x**exponent if x.ndim else xp.pow(x, exponent)


def in_dtype_of(xp: Any, like: Array, value: Scalar) -> Scalar:
    """Return a Python number as it is, and a 0-d array in the dtype of another, as which it promotes everywhere."""
    return xp.astype(value, like.dtype) if hasattr(value, "dtype") else value


def nonzero(xp: Any, divisor: Array, *added: Scalar) -> Array:
    """Return a divisor, with 1 for 0 unless one of the numbers `added` to it keeps it above 0.

    It is for a numerator that is 0 there too: 0 / 0 is to be 0.
    """
    if any(isinstance(x, float) and x >= _SURELY_HELD for x in added):  # an array may hold 0
        return divisor
    return xp.where(divisor == 0, xp.ones_like(divisor), divisor)


def spacing_of_1(x: Array) -> float:
    """Return the distance from 1 to the next larger number of the array's dtype."""
    return 2.0**-23 if real_dtype(dtype_name(x.dtype)) == "float32" else 2.0**-52


def is_complex(x: Array) -> bool:
    """Return whether the array holds complex numbers."""
    return dtype_kind(dtype_name(x.dtype)) == "complex"


def require_order(x: Array, name: str) -> None:
    """Raise an error for complex numbers, which cannot be compared."""
    if is_complex(x):
        raise DtypeKindError(f"{name} needs real numbers, for complex ones have no order. Mask them.")


def abs_squared(xp: Any, x: Array) -> Array:
    """Return ``|x|**2``, real for complex `x` too."""
    if not is_complex(x):
        return x * x
    real, imag = xp.real(x), xp.imag(x)
    return real * real + imag * imag


def zeros_like(xp: Any, p: Array, dtype: Any = None) -> Array:
    """Return zeros with the shape and place of `p`, in its dtype unless another is given."""
    return xp.zeros_like(p) if dtype is None else xp.zeros_like(p, dtype=dtype)


def full_like(xp: Any, p: Array, value: Scalar) -> Array:
    """Return an array of `value` with the shape, dtype and place of `p`."""
    # The standard's own takes Python numbers alone.
    return xp.full_like(p, value) if isinstance(value, float) else xp.zeros_like(p) + xp.astype(value, p.dtype)


def real_full_like(xp: Any, p: Array, value: Scalar = 0.0) -> Array:
    """Return an array of `value` with the shape and place of `p`, real for complex `p` too."""
    return full_like(xp, xp.real(p) if is_complex(p) else p, value)
