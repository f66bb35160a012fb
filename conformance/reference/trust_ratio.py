"""Steps measured by the norm of the leaf: LARS, LAMB, Fromage."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.adam import AdamDirection
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, norm
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, leaves, present, selects, values, zeros


def lars(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: float = 0.001,
    eps: float = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> Iterator[list[Leaf]]:
    """LARS: u = g + wd p;  r = trust_coefficient |p| / (|u| + eps);  m <- mu m + lr r u;  p <- p - m.

    With Nesterov p <- p - (lr r u + mu m). r = 1 if |p| or |u| is 0, and where the mask is False.

    You et al., "Large batch training of convolutional networks", 2017, arXiv:1708.03888, algorithm 1, where the
    denominator is |g| + wd |p|; |g + wd p| and eps are optax's.
    """
    p, m = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr, decay = at(learning_rate, n), at(weight_decay, n)
        for k, g in present(params, gradient):
            wd = decay if selects(weight_decay_mask, k) else 0.0
            u = [x + wd * y for x, y in zip(g, p[k], strict=True)]
            p_norm, u_norm = norm(p[k]), norm(u)
            r = 1.0
            if selects(trust_ratio_mask, k) and p_norm != 0 and u_norm != 0:
                r = trust_coefficient * p_norm / (u_norm + eps)
            for i, x in enumerate(u):
                m[k][i] = momentum * m[k][i] + lr * r * x
                if nesterov:
                    p[k][i] -= lr * r * x + momentum * m[k][i]
                else:
                    p[k][i] -= m[k][i]
        yield leaves(params, p)


def lamb(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: Rate = 0.0,
    mask: Mask = None,
) -> Iterator[list[Leaf]]:
    """LAMB: u = d + wd p with Adam's direction d;  r = |p| / |u|, 1 if either is 0;  p <- p - lr r u.

    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020, arXiv:1904.00962,
    algorithm 2 with phi(z) = z.
    """
    p = values(params)
    direction = AdamDirection(params, b1, b2, eps, eps_root)
    for t, gradient in enumerate(gradients, start=1):
        lr, decay = at(learning_rate, t - 1), at(weight_decay, t - 1)
        for k, g in present(params, gradient):
            wd = decay if selects(mask, k) else 0.0
            u = [direction(k, i, x, t) + wd * p[k][i] for i, x in enumerate(g)]
            p_norm, u_norm = norm(p[k]), norm(u)
            r = p_norm / u_norm if p_norm != 0 and u_norm != 0 else 1.0
            p[k] = [x - lr * r * y for x, y in zip(p[k], u, strict=True)]
        yield leaves(params, p)


def fromage(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, min_norm: float = 1e-6
) -> Iterator[list[Leaf]]:
    """Fromage: p <- (p - lr (|p| / |g|) g) / sqrt(1 + lr^2), both norms at least min_norm; ratio 1 if either is 0.

    Bernstein et al., "On the distance between two neural networks and the stability of learning", NeurIPS 2020,
    arXiv:2002.03432, algorithm 1. The floor of the norms is optax's.
    """
    p = values(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, g in present(params, gradient):
            p_norm, g_norm = maximum(norm(p[k]), min_norm), maximum(norm(g), min_norm)
            r = p_norm / g_norm if p_norm != 0 and g_norm != 0 else 1.0
            p[k] = [(x - lr * r * y) / math.sqrt(1 + lr * lr) for x, y in zip(p[k], g, strict=True)]
        yield leaves(params, p)
