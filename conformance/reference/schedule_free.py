"""Schedule-free learning: averages of the iterates in place of a falling rate."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, elements, leaves, values, zeros


class Iterates:
    """The sequences z, x and y of schedule-free learning, by which a step is taken, averaged, and looked from.

    z <- z - lr_n u;  x <- (1 - c) x + c z;  y <- b1 x + (1 - b1) z, where y are the parameters.

    c = w / (sum of all w so far), w = (the largest lr_(n+1) so far)^power; lr rises from 0 in the warmup.

    Defazio et al., "The road less scheduled", NeurIPS 2024, arXiv:2405.15682, equations 3 to 5 and section 4.2. There z
    and w have the same rate; that w has the one of the next step is optax's.
    """

    def __init__(self, params: list[Leaf], lr: float, warmup_steps: int | None, b1: float, power: float) -> None:
        self.lr, self.warmup_steps, self.b1, self.power = lr, warmup_steps, b1, power
        self.x, self.y, self.z = values(params), values(params), values(params)
        self.largest, self.total = 0.0, 0.0

    def rate(self, n: int) -> float:
        """Return lr_n."""
        return self.lr if self.warmup_steps is None else self.lr * min(n, self.warmup_steps) / self.warmup_steps

    def share(self, n: int) -> float:
        """Return c of step n."""
        self.largest = max(self.largest, self.rate(n + 1))
        w = math.pow(self.largest, self.power)
        self.total += w
        return w / self.total

    def step(self, k: int, i: int, u: float, n: int, c: float) -> None:
        """Take the step of one element."""
        self.z[k][i] -= self.rate(n) * u
        self.x[k][i] = (1 - c) * self.x[k][i] + c * self.z[k][i]
        self.y[k][i] = self.b1 * self.x[k][i] + (1 - self.b1) * self.z[k][i]


def schedule_free_sgd(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float = 1.0,
    warmup_steps: int | None = None,
    b1: float = 0.9,
    weight_decay: float | None = None,
    weight_lr_power: float = 2.0,
) -> Iterator[list[Leaf]]:
    """Schedule-free SGD: u = g + wd y, in the steps of `Iterates`."""
    iterates = Iterates(params, learning_rate, warmup_steps, b1, weight_lr_power)
    for n, gradient in enumerate(gradients):
        c = iterates.share(n)
        for k, i, g in elements(params, gradient):
            iterates.step(k, i, g + (weight_decay or 0.0) * iterates.y[k][i], n, c)
        yield leaves(params, iterates.y)


def schedule_free_adamw(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float = 0.0025,
    warmup_steps: int | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    weight_lr_power: float = 2.0,
) -> Iterator[list[Leaf]]:
    """Schedule-free AdamW: v <- b2 v + (1 - b2) g^2;  u = g / (sqrt(v / (1 - b2^t)) + eps) + wd y.

    Algorithm 1 of the same paper, where the root of 1 - b2^t is a factor of the rate, and so of w.
    """
    iterates, v = Iterates(params, learning_rate, warmup_steps, b1, weight_lr_power), zeros(params)
    for n, gradient in enumerate(gradients):
        c = iterates.share(n)
        for k, i, g in elements(params, gradient):
            v[k][i] = b2 * v[k][i] + (1 - b2) * g * g
            u = g / (math.sqrt(v[k][i] / (1 - b2 ** (n + 1))) + eps)
            iterates.step(k, i, u + weight_decay * iterates.y[k][i], n, c)
        yield leaves(params, iterates.y)
