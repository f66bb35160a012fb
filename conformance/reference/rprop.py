"""Rprop: a step size an element, from the signs alone."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, minimum, sign
from uniopt.conformance.reference.steps import Gradients, elements, full, leaves, values, zeros


def rprop(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> Iterator[list[Leaf]]:
    """Rprop, with g' the g before (at first 0) and d starting at the learning rate.

    g g' > 0: d <- min(d eta_plus, max_step_size);   p <- p - d sign(g).
    g g' < 0: d <- max(d eta_minus, min_step_size);  p stays, and g counts as 0 in the next step.
    g g' = 0: d stays;                               p <- p - d sign(g).

    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN
    1993; without taking steps back, as in Igel and Huesken, "Improving the Rprop learning algorithm", NC 2000 (iRprop-)
    and torch. torch bounds d in the third case too, which matters for a learning rate out of bounds. optax.rprop is
    one step late with each update.
    """
    p, d, g_prev = values(params), full(params, learning_rate), zeros(params)
    for gradient in gradients:
        for k, i, g in elements(params, gradient):
            agreement = sign(g) * sign(g_prev[k][i])
            if agreement > 0:
                d[k][i] = minimum(d[k][i] * eta_plus, max_step_size)
            elif agreement < 0:
                d[k][i] = maximum(d[k][i] * eta_minus, min_step_size)
            effective = 0.0 if agreement < 0 else g
            p[k][i] -= d[k][i] * sign(effective)
            g_prev[k][i] = effective
        yield leaves(params, p)
