"""Lookahead: slow parameters that follow fast ones."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves, values, zeros


def lookahead(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    momentum: float,
    sync_period: int,
    slow_step_size: float,
    reset_state: bool = False,
) -> Iterator[list[Leaf]]:
    """Momentum with the fast parameters, the first half of the leaves: m <- mu m + g;  f <- f - lr m.

    After every sync_period steps the slow ones, the second half: s <- s + alpha (f - s);  f <- s; with reset_state
    m <- 0, and the count of the rate begins again. A leaf without a gradient in that step keeps both.

    Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019, arXiv:1907.08610, algorithm 1.
    """
    p, half = values(params), len(params) // 2
    m, count = zeros(params[:half]), 0
    for t, gradient in enumerate(gradients, start=1):
        lr, due = at(learning_rate, count), t % sync_period == 0
        for k, i, g in elements(params[:half], gradient):
            m[k][i] = momentum * m[k][i] + g
            p[k][i] -= lr * m[k][i]
            if due:
                p[half + k][i] += slow_step_size * (p[k][i] - p[half + k][i])
                p[k][i] = p[half + k][i]
        count += 1
        if due and reset_state:
            m, count = zeros(params[:half]), 0
        yield leaves(params, p)
