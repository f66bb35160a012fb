"""Gradient descent with Polyak's step size."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, minimum, squared_norm
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves
from uniopt.conformance.reference.steps import values as values_of


def polyak_sgd(
    params: list[Leaf],
    gradients: Gradients,
    *,
    values: Iterable[float],
    max_learning_rate: float = 1.0,
    scaling: Rate = 1.0,
    f_min: float = 0.0,
    eps: float = 0.0,
    variant: str = "sps",
) -> Iterator[list[Leaf]]:
    """Polyak's step: p <- p - scaling min((f - f_min) / (|g|^2 + eps), max_learning_rate) g, |g| over all leaves.

    f is the objective's value at p, one of `values` a step. Variant "sps+": max(f - f_min, 0) for f - f_min.

    Loizou et al., "Stochastic Polyak step-size for SGD", AISTATS 2021, arXiv:2002.10542; Garrigos et al.,
    "Function value learning", 2023, arXiv:2307.14528 ("sps+"). No step is taken if |g|^2 + eps <= 2^-52, as in optax.
    optax scales g before it takes the norm, so that `scaling` acts inverted where the step is not capped.
    """
    p = values_of(params)
    for n, (gradient, f) in enumerate(zip(gradients, values, strict=True)):
        gap = maximum(f - f_min, 0.0) if variant == "sps+" else f - f_min
        denominator = squared_norm(g for _, _, g in elements(params, gradient)) + eps
        step = 0.0
        if not denominator <= sys.float_info.epsilon:
            step = at(scaling, n) * minimum(gap / denominator, max_learning_rate)
        for k, i, g in elements(params, gradient):
            p[k][i] -= step * g
        yield leaves(params, p)
