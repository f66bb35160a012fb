"""Gradients of a scaled loss, and steps that shrink when the objective no longer falls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from uniopt.conformance.reference.accumulation import is_finite
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves
from uniopt.conformance.reference.steps import values as values_of


def dynamic_loss_scaling(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float,
    init_scale: float,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int = 2000,
) -> Iterator[list[Leaf]]:
    """Gradient descent along g / c; a gradient that is not finite is left out, and c <- c backoff_factor.

    After growth_interval finite ones in a row since it last changed, c <- c growth_factor. As torch.amp.GradScaler.
    """
    p, c, finite = values_of(params), init_scale, 0
    for gradient in gradients:
        if not is_finite(params, gradient):
            c, finite = c * backoff_factor, 0
            yield leaves(params, p)
            continue
        for k, i, g in elements(params, gradient):
            p[k][i] -= learning_rate * (g / c)
        finite += 1
        if finite == growth_interval:
            c, finite = c * growth_factor, 0
        yield leaves(params, p)


def reduce_on_plateau(
    params: list[Leaf],
    gradients: Gradients,
    *,
    values: Sequence[float],
    learning_rate: Rate,
    factor: float,
    patience: int,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> Iterator[list[Leaf]]:
    """Gradient descent p <- p - lr c g, where c falls by a factor after so many means of values without improvement.

    A mean is of accumulation_size values, and better if it is below (1 - rtol) best - atol. After c has fallen, the
    next cooldown means count as the best one only. As optax.contrib.reduce_on_plateau; torch's ReduceLROnPlateau.
    """
    p, c, best, worse, cooling, of_mean = values_of(params), 1.0, math.inf, 0, 0, [0.0] * 0
    for n, (gradient, value) in enumerate(zip(gradients, values, strict=True)):
        of_mean.append(value)
        if len(of_mean) == accumulation_size:
            mean = math.fsum(of_mean) / accumulation_size
            of_mean.clear()
            better = mean < (1 - rtol) * best - atol
            best = mean if better else best
            if cooling > 0:
                cooling, worse = cooling - 1, 0
            else:
                worse = 0 if better else worse + 1
                if worse == patience:
                    c, worse, cooling = max(c * factor, min_scale), 0, cooldown
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            p[k][i] -= lr * c * g
        yield leaves(params, p)
