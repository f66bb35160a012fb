"""SM3: a sum of squares kept as one vector an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, minimum
from uniopt.conformance.reference.steps import Gradients, Rate, at, leaves, present, values, zeros


def sm3(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, momentum: float = 0.9
) -> Iterator[list[Leaf]]:
    """SM3-II, with a[r][j] for entry j of axis r: s = min over r of a[r][index on axis r] + g^2.

    m <- momentum m + (1 - momentum) g / sqrt(s + 1e-8), the quotient 0 where s = 0;  p <- p - lr m;
    a[r][j] <- max of s over the elements whose index on axis r is j. a starts at 0.

    Anil et al., "Memory-efficient adaptive optimization", NeurIPS 2019, arXiv:1901.11150, algorithm SM3-II with the
    slices along each axis as cover. Momentum and 1e-8 are optax's. A leaf of shape () is one of shape (1,): plain
    Adagrad (optax fails there).
    """
    p, m = values(params), zeros(params)
    shapes = [leaf.shape or (1,) for leaf in params]
    a = [[[0.0] * size for size in shape] for shape in shapes]
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, gs in present(params, gradient):
            a_new = [[0.0] * size for size in shapes[k]]
            for i, (index, g) in enumerate(zip(product(*map(range, shapes[k])), gs, strict=True)):
                s = math.inf
                for r, j in enumerate(index):
                    s = minimum(s, a[k][r][j])
                s += g * g
                for r, j in enumerate(index):
                    a_new[r][j] = maximum(a_new[r][j], s)
                u = g / math.sqrt(s + 1e-8) if s != 0 else 0.0
                m[k][i] = momentum * m[k][i] + (1 - momentum) * u
                p[k][i] -= lr * m[k][i]
            a[k] = a_new
        yield leaves(params, p)
