"""What no optimizer's default switches on, as naive loops.

They are written as those of `uniopt.conformance.reference` are, and share no code with the library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, minimum, sign
from uniopt.conformance.reference.steps import Gradients, elements, full, leaves, present, values, zeros

RATE = 0.125


def doubled_optimistic(params: list[Leaf], gradients: Gradients, *, alpha: float, beta: float) -> Iterator[list[Leaf]]:
    """Optimistic gradient descent from a gradient of 0: u = (alpha + beta) g - beta g', at first g' = 0."""
    p, before = values(params), zeros(params)
    for gradient in gradients:
        for k, i, g in elements(params, gradient):
            p[k][i] -= RATE * ((alpha + beta) * g - beta * before[k][i])
            before[k][i] = g
        yield leaves(params, p)


def late_rprop(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> Iterator[list[Leaf]]:
    """Rprop of optax: as the paper's, but each step is taken at the next gradient, unless that one turns."""
    p, size, step = values(params), full(params, learning_rate), zeros(params)
    for gradient in gradients:
        for k, i, g in elements(params, gradient):
            agreement = sign(g) * sign(step[k][i])
            if agreement > 0:
                size[k][i] = minimum(size[k][i] * eta_plus, max_step_size)
            elif agreement < 0:
                size[k][i] = maximum(size[k][i] * eta_minus, min_step_size)
            p[k][i] -= 0.0 if agreement < 0 else step[k][i]
            step[k][i] = 0.0 if agreement < 0 else size[k][i] * sign(g)
        yield leaves(params, p)


def forgetting_sm3(
    params: list[Leaf], gradients: Gradients, *, b1: float = 0.9, b2: float = 1.0, eps: float = 1e-8
) -> Iterator[list[Leaf]]:
    """SM3 whose accumulators are means: s = b2 min a + (1 - b2) g^2;  m <- b1 m + (1 - b1) g / sqrt(s + eps).

    With b2 = 1 they are sums: s = min a + g^2.
    """
    p, m = values(params), zeros(params)
    shapes = [leaf.shape or (1,) for leaf in params]
    a = [[[0.0] * size for size in shape] for shape in shapes]
    for gradient in gradients:
        for k, gs in present(params, gradient):
            new = [[0.0] * size for size in shapes[k]]
            for i, (index, g) in enumerate(zip(product(*map(range, shapes[k])), gs, strict=True)):
                least = min(a[k][r][j] for r, j in enumerate(index))
                s = least + g * g if b2 == 1 else b2 * least + (1 - b2) * g * g
                for r, j in enumerate(index):
                    new[r][j] = max(new[r][j], s)
                m[k][i] = b1 * m[k][i] + (1 - b1) * (g / math.sqrt(s + eps) if s != 0 else 0.0)
                p[k][i] -= RATE * m[k][i]
            a[k] = new
        yield leaves(params, p)
