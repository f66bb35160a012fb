"""Norms in plain arithmetic: the standard has none outside an optional extension."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from uniopt.numerics import abs_squared
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
    first = next(place for place in step.places if place is not None)
    parts = [
        first.bring(step.xp.sum(abs_squared(step.xp, x)))
        for x, place in zip(leaves, step.places, strict=True)
        if x is not None and place is not None
    ]
    return step.backend.astype(reduce(operator.add, parts), first.scalar_dtype)
