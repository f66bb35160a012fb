"""Steps that keep parameters nonnegative, leave NaN out, or draw the parameters to 0."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, elements, leaves, selects, values


def keep_params_nonnegative(params: list[Leaf], gradients: Gradients, *, learning_rate: Rate) -> Iterator[list[Leaf]]:
    """Projected gradient descent: p <- max(p - lr g, 0)."""
    p = values(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            p[k][i] = maximum(p[k][i] - lr * g, 0.0)
        yield leaves(params, p)


def zero_nans(shape: tuple[int, ...], p: list[float], g: list[float]) -> list[float]:
    """u = 0 where g is NaN, u = g elsewhere."""
    return [0.0 if math.isnan(x) else x for x in g]


def add_decayed_weights(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    weight_decay: Rate = 0.0,
    mask: Mask = None,
) -> Iterator[list[Leaf]]:
    """Coupled decay: p <- p - lr (g + wd p); wd is 0 where the mask is False."""
    p = values(params)
    for n, gradient in enumerate(gradients):
        lr, decay = at(learning_rate, n), at(weight_decay, n)
        for k, i, g in elements(params, gradient):
            p[k][i] -= lr * (g + (decay if selects(mask, k) else 0.0) * p[k][i])
        yield leaves(params, p)
