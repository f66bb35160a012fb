"""Norms in plain arithmetic: the standard has none outside an optional extension."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from uniopt.backends.dtypes import dtype_name
from uniopt.numerics import abs_squared, is_complex
from uniopt.place import Place
from uniopt.step import Step
from uniopt.typing import Array, Scalar, Tree


def norm(xp: Any, x: Array, at_least: Scalar) -> Array:
    """Return the Euclidean norm of all elements, a 0-d array, not below a bound; its derivative at 0 is 0."""
    return root(xp, xp.sum(abs_squared(xp, x)), at_least)


def root_mean_square(xp: Any, x: Array, at_least: Scalar = 0.0) -> Array:
    """Return the root of the mean of the squared elements, a 0-d array, not below a bound."""
    return root(xp, xp.mean(abs_squared(xp, x)), at_least)


def root(xp: Any, squared: Array, at_least: Scalar = 0.0) -> Array:
    """Return the square root, not below a bound; its derivative at 0 is 0."""
    # sqrt has no derivative at 0, and NaN would leak through the branch that is not taken.
    zero = squared == 0
    value = xp.where(zero, squared, xp.sqrt(xp.where(zero, xp.ones_like(squared), squared)))
    return value if isinstance(at_least, float) and at_least == 0.0 else xp.maximum(value, at_least)


def meeting(places: Sequence[Place | None]) -> Place | None:
    """Return where all leaves meet in one number: the first place of those with the widest dtype; None for no leaves.

    A device need not have the dtypes of another, so it is not the first leaf's by itself.
    """
    known = [place for place in places if place is not None]
    wide = [place for place in known if dtype_name(place.scalar_dtype) == "float64"]
    return next(iter(wide or known), None)


def squared_norms(xp: Any, x: Array) -> Array:
    """Return the sum of the squared elements for each position along the first axis."""
    squares = abs_squared(xp, x)
    return squares if x.ndim == 1 else xp.sum(squares, axis=tuple(range(1, x.ndim)))


def sum_of_squares(step: Step, leaves: Sequence[Array], where: Place, *, per_example: bool = False) -> Array:
    """Return the sum of the squared elements of all leaves, brought to a place: a 0-d array.

    With `per_example`, return one such sum for each position along the leaves' first axis.
    """
    parts = [
        where.bring(squared_norms(step.xp, x) if per_example else step.xp.sum(abs_squared(step.xp, x)))
        for x, place in zip(leaves, step.places, strict=True)
        if x is not None and place is not None
    ]
    return step.backend.astype(reduce(operator.add, parts), where.scalar_dtype)


def inner_product(step: Step, xs: Sequence[Array], ys: Sequence[Array], where: Place) -> Array:
    """Return the sum of the products of elements, brought to a place; of complex ones, the real part of it."""
    xp = step.xp

    def product(x: Array, y: Array) -> Array:
        return xp.real(x) * xp.real(y) + xp.imag(x) * xp.imag(y) if is_complex(x) else x * y

    parts = [
        where.bring(xp.sum(product(x, y)))
        for x, y, place in zip(xs, ys, step.places, strict=True)
        if x is not None and place is not None
    ]
    return step.backend.astype(reduce(operator.add, parts), where.scalar_dtype)


def global_norm(updates: Tree) -> Array:
    r"""Return the Euclidean norm of all elements of a tree together: :math:`\sqrt{\sum_i |x_i|^2}`.

    Parameters
    ----------
    updates
        A tree of arrays, such as gradients.

    Returns
    -------
    Array
        A 0-d array, real, on the device of the first leaf with the widest dtype, in that dtype (float32 for 16-bit
        leaves); 0 for a tree without leaves.

    Raises
    ------
    UnioptError
        If a leaf is no array of floating-point numbers, or the leaves are of several libraries.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> uniopt.global_norm({"w": np.asarray([[3.0, 0.0]]), "b": np.asarray(4.0)})
    array(5.)
    """
    step, leaves, _ = Step.of_update(updates, None, names=("tree", ""))
    if (where := meeting(step.places)) is None:
        return step.backend.asarray(0.0)
    return step.backend.astype(root(step.xp, sum_of_squares(step, leaves, where)), where.scalar_dtype)
