"""NovoGrad: a second moment a leaf."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import squared_norm
from uniopt.conformance.reference.steps import Gradients, Rate, at, leaves, present, values, zeros


def novograd(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.25,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: Rate = 0.0,
) -> Iterator[list[Leaf]]:
    """NovoGrad: v <- b2 v + (1 - b2) |g|^2, in step 1 v = |g|^2;  p <- p - lr m.

    m <- b1 m + g / (sqrt(v + eps_root) + eps) + wd p.

    Ginsburg et al., "Stochastic gradient methods with layer-wise adaptive moments for training of deep networks", 2019,
    arXiv:1905.11286, algorithm 1 (where m is as here without a factor 1 - b1).
    """
    p, m, v = values(params), zeros(params), [0.0] * len(params)
    for t, gradient in enumerate(gradients, start=1):
        lr, wd = at(learning_rate, t - 1), at(weight_decay, t - 1)
        for k, g in present(params, gradient):
            v[k] = squared_norm(g) if t == 1 else b2 * v[k] + (1 - b2) * squared_norm(g)
            for i, x in enumerate(g):
                m[k][i] = b1 * m[k][i] + x / (math.sqrt(v[k] + eps_root) + eps) + wd * p[k][i]
                p[k][i] -= lr * m[k][i]
        yield leaves(params, p)
