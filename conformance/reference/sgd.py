"""Gradient descent, with momentum, and with noise."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.random import fold_in, key_of, normal
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves, values, zeros


def sgd(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    momentum: float | None = None,
    nesterov: bool = False,
    dampening: float = 0.0,
) -> Iterator[list[Leaf]]:
    """Gradient descent: m <- mu m + (1 - tau) g;  p <- p - lr m, with Nesterov p <- p - lr (g + mu m).

    Without momentum p <- p - lr g.

    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013. Dampening tau
    holds from the first step on, as in mlx.optimizers.SGD; torch.optim.SGD starts with m = g.
    """
    p, m = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            if momentum is None:
                p[k][i] -= lr * g
                continue
            m[k][i] = momentum * m[k][i] + (1 - dampening) * g
            if nesterov:
                p[k][i] -= lr * (g + momentum * m[k][i])
            else:
                p[k][i] -= lr * m[k][i]
        yield leaves(params, p)


def noisy_sgd(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    eta: float = 0.01,
    gamma: float = 0.55,
    key: int | None = None,
    seed: int | None = None,
) -> Iterator[list[Leaf]]:
    """Gradient descent with annealed noise: p <- p - lr (g + sigma z), z standard normal, sigma^2 = eta / t^gamma.

    Neelakantan et al., "Adding gradient noise improves learning for very deep networks", 2015, arXiv:1511.06807; there
    (1 + t)^gamma with t from 0. The paper leaves the generator open. Here z of element i in leaf k at count n = 0, 1,
    ... is number i of stream k under fold_in(key, n).
    """
    p = values(params)
    chosen = seed if key is None else key
    root_key = key_of(0 if chosen is None else chosen)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        sigma = math.sqrt(eta / t**gamma)
        step_key = fold_in(root_key, t - 1)
        for k, i, g in elements(params, gradient):
            p[k][i] -= lr * (g + sigma * normal(step_key, i, k))
        yield leaves(params, p)
