"""Steps by the sign alone: signSGD, Signum, Lion."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import sign
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, elements, leaves, selects, values, zeros


def sign_sgd(params: list[Leaf], gradients: Gradients, *, learning_rate: Rate) -> Iterator[list[Leaf]]:
    """SignSGD: p <- p - lr sign(g), with sign(0) = 0.

    Bernstein et al., "signSGD: compressed optimisation for non-convex problems", ICML 2018, arXiv:1802.04434.
    """
    p = values(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            p[k][i] -= lr * sign(g)
        yield leaves(params, p)


def signum(params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, beta: float = 0.9) -> Iterator[list[Leaf]]:
    """Signum: m <- beta m + (1 - beta) g;  p <- p - lr sign(m).

    Bernstein et al. 2018, as above, algorithm 2.
    """
    p, m = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            m[k][i] = beta * m[k][i] + (1 - beta) * g
            p[k][i] -= lr * sign(m[k][i])
        yield leaves(params, p)


def lion(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: Rate = 1e-3,
    mask: Mask = None,
) -> Iterator[list[Leaf]]:
    """Lion: p <- p - lr (sign(b1 m + (1 - b1) g) + wd p);  m <- b2 m + (1 - b2) g.

    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, arXiv:2302.06675, algorithm 2.
    """
    p, m = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr, decay = at(learning_rate, n), at(weight_decay, n)
        for k, i, g in elements(params, gradient):
            wd = decay if selects(mask, k) else 0.0
            p[k][i] -= lr * (sign(b1 * m[k][i] + (1 - b1) * g) + wd * p[k][i])
            m[k][i] = b2 * m[k][i] + (1 - b2) * g
        yield leaves(params, p)
