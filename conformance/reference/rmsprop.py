"""RMSprop."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, full, leaves, values, zeros


def rmsprop(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Iterator[list[Leaf]]:
    """Divide by the root mean square: v <- rho v + (1 - rho) g^2;  u = lr g / sqrt(v + eps);  p <- p - u.

    eps_in_sqrt=False: lr g / (sqrt(v) + eps). centered: v - m^2 in place of v, m <- rho m + (1 - rho) g.
    bias_correction: m and v divided by 1 - rho^t first. momentum: b <- mu b + u;  p <- p - b, with Nesterov
    p <- p - (u + mu b). v starts at initial_scale.

    Hinton, "Overview of mini-batch gradient descent", lecture 6, 2012; centered with momentum: Graves, "Generating
    sequences with recurrent neural networks", 2013, arXiv:1308.0850, equations 38 to 41. lr is inside the momentum as
    there, in optax and in keras; torch applies it afterwards.
    """
    p, m, v, b = values(params), zeros(params), full(params, initial_scale), zeros(params)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        correction = 1 - decay**t if bias_correction else 1.0
        for k, i, g in elements(params, gradient):
            m[k][i] = decay * m[k][i] + (1 - decay) * g
            v[k][i] = decay * v[k][i] + (1 - decay) * g * g
            mean, square = m[k][i] / correction, v[k][i] / correction
            if centered:
                # A variance is not negative, but rounding can make the difference so (with the bias correction it is
                # nothing else at t = 1, where optax may give NaN).
                square = maximum(square - mean * mean, 0.0)
            u = lr * g / (math.sqrt(square + eps) if eps_in_sqrt else math.sqrt(square) + eps)
            if momentum is None:
                p[k][i] -= u
                continue
            b[k][i] = momentum * b[k][i] + u
            if nesterov:
                p[k][i] -= u + momentum * b[k][i]
            else:
                p[k][i] -= b[k][i]
        yield leaves(params, p)
