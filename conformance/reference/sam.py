"""Sharpness-aware minimization, one gradient a step."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, elements, leaves, values, zeros


def sam(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float,
    momentum: float,
    climb: float,
    climb_momentum: float,
    sync_period: int = 2,
    reset_state: bool = True,
) -> Iterator[list[Leaf]]:
    """Climb for sync_period - 1 steps, a <- mu' a + g;  p <- p + rho a; then step from where the climb began.

    That step is m <- mu m + g;  p <- start - lr m; after it a <- 0, if it is reset. Both optimizers are momentum.

    Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021, arXiv:2010.01412,
    algorithm 1, with the climb of the one optimizer and the step of the other, as in optax.
    """
    p, start, m, a = values(params), values(params), zeros(params), zeros(params)
    for n, gradient in enumerate(gradients):
        if n % sync_period == 0:
            start = [list(leaf) for leaf in p]
        last = n % sync_period == sync_period - 1
        for k, i, g in elements(params, gradient):
            if last:
                m[k][i] = momentum * m[k][i] + g
                p[k][i] = start[k][i] - learning_rate * m[k][i]
            else:
                a[k][i] = climb_momentum * a[k][i] + g
                p[k][i] += climb * a[k][i]
        if last and reset_state:
            a = zeros(params)
        yield leaves(params, p)
