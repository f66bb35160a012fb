"""Running means and sums: of gradients, and of parameters."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves, values, zeros


def ema(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, decay: float, debias: bool = True
) -> Iterator[list[Leaf]]:
    """Descend along a running mean: m <- b m + (1 - b) g;  p <- p - lr m / (1 - b^t), without debias p <- p - lr m."""
    p, m = values(params), zeros(params)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        for k, i, g in elements(params, gradient):
            m[k][i] = decay * m[k][i] + (1 - decay) * g
            p[k][i] -= lr * m[k][i] / (1 - decay**t if debias else 1.0)
        yield leaves(params, p)


def trace(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    decay: float,
    nesterov: bool = False,
    dampening: float = 0.0,
    undampened_first_step: bool = False,
) -> Iterator[list[Leaf]]:
    """Descend along a decaying sum: m <- mu m + (1 - tau) g;  p <- p - lr m, with Nesterov p <- p - lr (g + mu m).

    With undampened_first_step m = g at a leaf's first gradient, as in torch.optim.SGD.
    """
    p, m = values(params), zeros(params)
    begun: set[int] = set()
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            whole = undampened_first_step and k not in begun
            m[k][i] = decay * m[k][i] + (g if whole else (1 - dampening) * g)
            p[k][i] -= lr * (g + decay * m[k][i]) if nesterov else lr * m[k][i]
        begun |= {k for k, g_leaf in enumerate(gradient) if g_leaf is not None}
        yield leaves(params, p)


def params_ema(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, decay: float, debias: bool = True
) -> Iterator[list[Leaf]]:
    """Yield the running mean of the parameters of gradient descent: a <- a + w (p - a).

    w = (1 - b) / (1 - b^t), which makes a the mean that starts at 0, divided by 1 - b^t; without debias w = 1 - b, and
    a starts at the parameters.
    """
    p, a = values(params), values(params)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        w = (1 - decay) / (1 - decay**t if debias else 1.0)
        for k, i, g in elements(params, gradient):
            p[k][i] -= lr * g
            a[k][i] += w * (p[k][i] - a[k][i])
        yield leaves(params, a)


def params_mean(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, start: int = 0, every: int = 1
) -> Iterator[list[Leaf]]:
    """Yield the mean of the parameters of gradient descent after steps start + every, start + 2 every, ...

    Before the first of them it is the parameters.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992; Izmailov
    et al., "Averaging weights leads to wider optima and better generalization", UAI 2018, arXiv:1803.05407.
    """
    p, a = values(params), values(params)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        number, between = divmod(t - start, every)
        w = 1.0 if number < 1 else 1 / number if between == 0 else 0.0
        for k, i, g in elements(params, gradient):
            p[k][i] -= lr * g
            a[k][i] += w * (p[k][i] - a[k][i])
        yield leaves(params, a)
