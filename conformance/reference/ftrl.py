"""FTRL: follow the regularized leader."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import sign
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, full, leaves, values, zeros


def ftrl(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate = 0.001,
    learning_rate_power: float = -0.5,
    initial_accumulator_value: float = 0.1,
    l1_regularization_strength: float = 0.0,
    l2_regularization_strength: float = 0.0,
    l2_shrinkage_regularization_strength: float = 0.0,
    beta: float = 0.0,
) -> Iterator[list[Leaf]]:
    """FTRL-Proximal, with q = -learning_rate_power: n' = n + g^2;  sigma = (n'^q - n^q) / lr;  n <- n'.

    z <- z + g + 2 shrinkage p - sigma p;
    p <- 0 if |z| <= l1, else (sign(z) l1 - z) / ((beta + n^q) / lr + 2 l2).

    McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1 (q = 1/2, and n starts at 0).
    The general power, the shrinkage and the factor 2 on l2 are those of keras.optimizers.Ftrl.
    """
    q, l1, l2 = -learning_rate_power, l1_regularization_strength, l2_regularization_strength
    p, n, z = values(params), full(params, initial_accumulator_value), zeros(params)
    for count, gradient in enumerate(gradients):
        lr = at(learning_rate, count)
        for k, i, g in elements(params, gradient):
            n_new = n[k][i] + g * g
            sigma = (n_new**q - n[k][i] ** q) / lr
            n[k][i] = n_new
            z[k][i] += g + 2 * l2_shrinkage_regularization_strength * p[k][i] - sigma * p[k][i]
            if abs(z[k][i]) <= l1:
                p[k][i] = 0.0
            else:
                p[k][i] = (sign(z[k][i]) * l1 - z[k][i]) / ((beta + n_new**q) / lr + 2 * l2)
        yield leaves(params, p)
