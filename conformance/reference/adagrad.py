"""Adagrad and Adadelta."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, elements, full, leaves, selects, values, zeros


def adagrad(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    initial_accumulator_value: float = 0.1,
    eps: float = 1e-7,
) -> Iterator[list[Leaf]]:
    """Adagrad: s <- s + g^2;  p <- p - lr g / sqrt(s + eps);  no step where s = 0. s starts at the initial value.

    Duchi et al., "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 2011, figure 1
    (diagonal); 0 / 0 is 0 there. eps stands inside the root as in optax and keras; outside in torch.
    """
    p, s = values(params), full(params, initial_accumulator_value)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            s[k][i] += g * g
            if s[k][i] != 0:
                p[k][i] -= lr * g / math.sqrt(s[k][i] + eps)
        yield leaves(params, p)


def adadelta(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate | None = None,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask = None,
) -> Iterator[list[Leaf]]:
    """Adadelta: s <- rho s + (1 - rho) g^2;  u = sqrt(x + eps) / sqrt(s + eps) g;  x <- rho x + (1 - rho) u^2.

    p <- p - lr u. The decay is coupled: g stands for g + wd p.

    Zeiler, "Adadelta: an adaptive learning rate method", 2012, arXiv:1212.5701, algorithm 1 (lr = 1, wd = 0). Without a
    learning rate optax gives out u as it is, without the sign: p <- p + u, which ascends.
    """
    p, s, x = values(params), zeros(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr, decay = -1.0 if learning_rate is None else at(learning_rate, n), at(weight_decay, n)
        for k, i, raw in elements(params, gradient):
            wd = decay if selects(weight_decay_mask, k) else 0.0
            g = raw + wd * p[k][i]
            s[k][i] = rho * s[k][i] + (1 - rho) * g * g
            u = math.sqrt(x[k][i] + eps) / math.sqrt(s[k][i] + eps) * g
            x[k][i] = rho * x[k][i] + (1 - rho) * u * u
            p[k][i] -= lr * u
        yield leaves(params, p)
