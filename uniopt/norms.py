"""Norms in plain arithmetic: the standard has none outside an optional extension."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from uniopt.numerics import abs_squared, is_complex
from uniopt.step import Step
from uniopt.typing import Array, Scalar


def norm(xp: Any, x: Array, at_least: Scalar) -> Array:
    """Return the Euclidean norm of all elements, a 0-d array, not below a bound; its derivative at 0 is 0."""
    return _root(xp, xp.sum(abs_squared(xp, x)), at_least)


def root_mean_square(xp: Any, x: Array, at_least: Scalar = 0.0) -> Array:
    """Return the root of the mean of the squared elements, a 0-d array, not below a bound."""
    return _root(xp, xp.mean(abs_squared(xp, x)), at_least)


def _root(xp: Any, squared: Array, at_least: Scalar) -> Array:
    # sqrt has no derivative at 0, and NaN would leak through the branch that is not taken.
    zero = squared == 0
    value = xp.where(zero, squared, xp.sqrt(xp.where(zero, xp.ones_like(squared), squared)))
    return value if isinstance(at_least, float) and at_least == 0.0 else xp.maximum(value, at_least)


def sum_of_squares(step: Step, leaves: Sequence[Array]) -> Array:
    """Return the sum of the squared elements of all leaves, a 0-d array where the first leaf lives."""
    return _total(step, [None if x is None else step.xp.sum(abs_squared(step.xp, x)) for x in leaves])


def inner_product(step: Step, xs: Sequence[Array], ys: Sequence[Array]) -> Array:
    """Return the sum of the products of elements, a 0-d array where the first leaf lives; complex ones as vectors."""
    xp = step.xp

    def product(x: Array, y: Array) -> Array:
        return xp.real(x) * xp.real(y) + xp.imag(x) * xp.imag(y) if is_complex(x) else x * y

    return _total(step, [None if x is None else xp.sum(product(x, y)) for x, y in zip(xs, ys, strict=True)])


def _total(step: Step, sums: Sequence[Array]) -> Array:
    """Return the sum of one number for each leaf."""
    first = next(place for place in step.places if place is not None)
    parts = [first.bring(x) for x, place in zip(sums, step.places, strict=True) if x is not None and place is not None]
    return step.backend.astype(reduce(operator.add, parts), first.scalar_dtype)
