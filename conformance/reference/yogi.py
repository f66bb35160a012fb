"""Yogi: Adam with a second moment that changes by an amount, not by a ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import sign
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, full, leaves, values


def yogi(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-3,
) -> Iterator[list[Leaf]]:
    """Yogi: m <- b1 m + (1 - b1) g;  v <- v - (1 - b2) sign(v - g^2) g^2;  p <- p - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^t);  v^ = v / (1 - b2^t);  m and v start at 1e-6.

    Zaheer et al., "Adaptive methods for nonconvex optimization", NeurIPS 2018, algorithm 2. The bias corrections and
    the starts of m and v are optax's.
    """
    p, m, v = values(params), full(params, 1e-6), full(params, 1e-6)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        for k, i, g in elements(params, gradient):
            m[k][i] = b1 * m[k][i] + (1 - b1) * g
            v[k][i] = v[k][i] - (1 - b2) * sign(v[k][i] - g * g) * g * g
            m_hat = m[k][i] / (1 - b1**t)
            v_hat = v[k][i] / (1 - b2**t)
            p[k][i] -= lr * m_hat / (math.sqrt(v_hat) + eps)
        yield leaves(params, p)
