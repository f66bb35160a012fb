"""Optimistic steps, which extrapolate from the direction before."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.adam import AdamDirection
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves, values, zeros


def optimistic_gradient_descent(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, alpha: Rate = 1.0, beta: Rate = 1.0
) -> Iterator[list[Leaf]]:
    """Optimistic gradient descent: p <- p - lr ((alpha + beta) g - beta g'), with g' the g before; at first g' = g.

    A leaf that is skipped at first starts with its own first gradient.

    Mokhtari et al., "A unified analysis of extra-gradient and optimistic gradient methods for saddle point problems:
    proximal point approach", AISTATS 2020, arXiv:1901.08511.
    """
    p, g_prev = values(params), zeros(params)
    begun: dict[int, int] = {}
    for n, gradient in enumerate(gradients):
        lr, a, b = at(learning_rate, n), at(alpha, n), at(beta, n)
        for k, i, g in elements(params, gradient):
            before = g if begun.setdefault(k, n) == n else g_prev[k][i]
            p[k][i] -= lr * ((a + b) * g - b * before)
            g_prev[k][i] = g
        yield leaves(params, p)


def optimistic_adam(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float,
    optimism: float | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    nesterov: bool = True,
) -> Iterator[list[Leaf]]:
    """Optimistic Adam: p <- p - (lr d + optimism (d - d')), with Adam's direction d, and d' the d before (at first: d).

    optimism is lr unless given.

    Daskalakis et al., "Training GANs with optimism", ICLR 2018, arXiv:1711.00141, algorithm 1, with optimism = lr and
    without Nesterov.
    """
    return optimistic_adam_v2(
        params,
        gradients,
        learning_rate=1.0,
        alpha=learning_rate,
        beta=learning_rate if optimism is None else optimism,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        nesterov=nesterov,
    )


def optimistic_adam_v2(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    alpha: float = 1.0,
    beta: float = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    nesterov: bool = True,
) -> Iterator[list[Leaf]]:
    """Optimistic Adam: p <- p - lr (alpha d + beta (d - d')), with d and d' as in `optimistic_adam`.

    Daskalakis et al. 2018, as above.
    """
    p, d_prev = values(params), zeros(params)
    direction = AdamDirection(params, b1, b2, eps, eps_root, nesterov)
    begun: dict[int, int] = {}
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        for k, i, g in elements(params, gradient):
            d = direction(k, i, g, t)
            before = d if begun.setdefault(k, t) == t else d_prev[k][i]
            p[k][i] -= lr * (alpha * d + beta * (d - before))
            d_prev[k][i] = d
        yield leaves(params, p)
