"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves, values, zeros


def asgd(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: Rate = 0.0,
) -> Iterator[list[Leaf]]:
    """Averaged SGD, n counted from 0: eta = lr / (1 + lambd lr n)^alpha;  p <- (1 - lambd eta) p - eta (g + wd p).

    The average, which `asgd_average` yields: a <- a + (p - a) / max(1, n - t0).

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992; the
    schedules are those of Bottou, "Stochastic gradient descent tricks", 2012, as in torch.optim.ASGD.
    """
    for p, _ in _both(params, gradients, learning_rate, lambd, alpha, t0, weight_decay):
        yield p


def asgd_average(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: Rate = 0.0,
) -> Iterator[list[Leaf]]:
    """Yield the average of the parameters of `asgd` instead of the parameters."""
    for _, average in _both(params, gradients, learning_rate, lambd, alpha, t0, weight_decay):
        yield average


def _both(
    params: list[Leaf],
    gradients: Gradients,
    learning_rate: Rate,
    lambd: float,
    alpha: float,
    t0: float,
    weight_decay: Rate,
) -> Iterator[tuple[list[Leaf], list[Leaf]]]:
    p, a = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr, wd = at(learning_rate, n), at(weight_decay, n)
        eta = lr / (1 + lambd * lr * n) ** alpha
        mu = 1 / max(1, n - t0)
        for k, i, g in elements(params, gradient):
            p[k][i] = (1 - lambd * eta) * p[k][i] - eta * (g + wd * p[k][i])
            a[k][i] += mu * (p[k][i] - a[k][i])
        yield leaves(params, p), leaves(params, a)
