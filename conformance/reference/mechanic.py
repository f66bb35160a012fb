"""Mechanic: a learning rate that is learnt."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import norm
from uniopt.conformance.reference.steps import Gradients, elements, leaves, values, zeros


def mechanize(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float = 1e-2,
    eps: float = 1e-8,
    s_init: float = 1e-6,
    num_betas: int = 6,
) -> Iterator[list[Leaf]]:
    """Momentum u <- u - lr m, m <- mu m + g, from the start p0, with a scale that is learnt: p <- p0 + s u.

    s is the sum of one s_i for each beta_i = 1 - 10^-i. With h the inner product of u and the gradient that is
    decayed, g + weight_decay s (|g| / (|p| + eps)) p, its sign turned, for each i:

    m_i <- max(beta_i m_i, |h| + eps);  v_i <- beta_i^2 v_i + h^2;  r_i <- beta_i r_i + s_i clip(h, -m_i, m_i), with the
    m_i before;  W_i = s_init / n m_i;  s_i <- (W_i + max(r_i, 0)) / (sqrt(v_i) + eps).

    Cutkosky, Defazio and Mehta, "Mechanic: a learning rate tuner", NeurIPS 2023, arXiv:2306.00144, algorithm 1; as in
    optax u is what the parameters have moved by, divided by s + eps, and the clipping is by the m_i before.
    """
    start, p, u, mu = values(params), values(params), zeros(params), zeros(params)
    r, m, v, s = ([x] * num_betas for x in (0.0, 0.0, 0.0, s_init))
    for gradient in gradients:
        given = list(elements(params, gradient))
        scale = math.fsum(s)
        share = weight_decay * scale * norm(g for _, _, g in given) / (norm(p[k][i] for k, i, _ in given) + eps)
        h = math.fsum((g + share * p[k][i]) * (start[k][i] - p[k][i]) / (scale + eps) for k, i, g in given)
        for j in range(num_betas):
            beta = 1 - 10.0 ** -(j + 1)
            r[j] = beta * r[j] + s[j] * min(max(h, -m[j]), m[j])
            m[j] = max(beta * m[j], abs(h) + eps)
            v[j] = beta * beta * v[j] + h * h
            s[j] = (s_init / num_betas * m[j] + max(r[j], 0.0)) / (math.sqrt(v[j]) + eps)
        after = math.fsum(s)
        for k, i, g in given:
            mu[k][i] = momentum * mu[k][i] + g
            u[k][i] = (p[k][i] - start[k][i]) / (scale + eps) - learning_rate * mu[k][i]
            p[k][i] = start[k][i] + after * u[k][i]
        yield leaves(params, p)
