"""Adan: adaptive Nesterov momentum."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, elements, leaves, selects, values, zeros


def adan(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 1e-8,
    weight_decay: Rate = 0.0,
    mask: Mask = None,
) -> Iterator[list[Leaf]]:
    """Adan: p <- p - lr ((m^ + (1 - b2) v^) / (sqrt(n^ + eps_root) + eps) + wd p).

    d = g - g of the step before, 0 in step 1;  m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) d;
    n <- b3 n + (1 - b3) (g + (1 - b2) d)^2;  m^ = m / (1 - b1^t);  v^ = v / (1 - b2^t);  n^ = n / (1 - b3^t).

    Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models", 2022, arXiv:2208.06677,
    algorithm 1. Departures, all of them optax's: the paper's betas are one minus these, so that its factor 1 - beta2
    before d and v^ is b2 in this notation (and in the authors' code), where optax has 1 - b2; the paper divides by
    1 + lr wd instead of adding wd p; the bias corrections are those of the authors' code.
    """
    p, m, v, n, g_prev = values(params), zeros(params), zeros(params), zeros(params), zeros(params)
    for t, gradient in enumerate(gradients, start=1):
        lr, decay = at(learning_rate, t - 1), at(weight_decay, t - 1)
        for k, i, g in elements(params, gradient):
            wd = decay if selects(mask, k) else 0.0
            d = 0.0 if t == 1 else g - g_prev[k][i]
            g_prev[k][i] = g
            m[k][i] = b1 * m[k][i] + (1 - b1) * g
            v[k][i] = b2 * v[k][i] + (1 - b2) * d
            ahead = g + (1 - b2) * d
            n[k][i] = b3 * n[k][i] + (1 - b3) * ahead * ahead
            m_hat = m[k][i] / (1 - b1**t)
            v_hat = v[k][i] / (1 - b2**t)
            n_hat = n[k][i] / (1 - b3**t)
            direction = (m_hat + (1 - b2) * v_hat) / (math.sqrt(n_hat + eps_root) + eps)
            p[k][i] -= lr * (direction + wd * p[k][i])
        yield leaves(params, p)
