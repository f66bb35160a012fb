"""Adamax: Adam with the infinity norm."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, elements, leaves, selects, values, zeros


def adamax(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> Iterator[list[Leaf]]:
    """Adamax: m <- b1 m + (1 - b1) g;  v <- max(b2 v, |g| + eps);  p <- p - lr (m / (1 - b1^t)) / v.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 2, which has no eps; its place is
    that of optax and torch.
    """
    return adamaxw(params, gradients, learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=0.0)


def adamaxw(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: Rate = 1e-4,
    mask: Mask = None,
) -> Iterator[list[Leaf]]:
    """Adamax with decoupled decay: p <- p - lr ((m / (1 - b1^t)) / v + wd p), with m and v of `adamax`.

    Kingma and Ba 2015, algorithm 2; Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """
    p, m, v = values(params), zeros(params), zeros(params)
    for t, gradient in enumerate(gradients, start=1):
        lr, decay = at(learning_rate, t - 1), at(weight_decay, t - 1)
        for k, i, g in elements(params, gradient):
            wd = decay if selects(mask, k) else 0.0
            m[k][i] = b1 * m[k][i] + (1 - b1) * g
            v[k][i] = maximum(b2 * v[k][i], abs(g) + eps)
            m_hat = m[k][i] / (1 - b1**t)
            p[k][i] -= lr * (m_hat / v[k][i] + wd * p[k][i])
        yield leaves(params, p)
