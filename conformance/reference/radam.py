"""RAdam: Adam whose adaptive step is rectified, and left out while its variance is unknown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves, values, zeros


def radam(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    nesterov: bool = False,
) -> Iterator[list[Leaf]]:
    """Rectified Adam: p <- p - lr r m^ / (sqrt(v^ + eps_root) + eps) if rho >= threshold, else p <- p - lr m^.

    rho_inf = 2 / (1 - b2) - 1;  rho = rho_inf - 2 t b2^t / (1 - b2^t);
    r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho));  m^, v^ as in Adam, with Nesterov
    m^ = b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t).

    Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020, arXiv:1908.03265, algorithm 2.
    The paper rectifies if rho > 4; the threshold 5, included, is that of optax (excluded in the authors' code, torch).
    """
    p, m, v = values(params), zeros(params), zeros(params)
    rho_inf = 2 / (1 - b2) - 1
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        # In exact fractions: the difference of two numbers near rho_inf magnifies their rounding a thousand times.
        power = Fraction(b2) ** t
        rho = float(2 / (1 - Fraction(b2)) - 1 - 2 * t * power / (1 - power))
        for k, i, g in elements(params, gradient):
            m[k][i] = b1 * m[k][i] + (1 - b1) * g
            v[k][i] = b2 * v[k][i] + (1 - b2) * g * g
            m_hat = m[k][i] / (1 - b1**t)
            if nesterov:
                m_hat = b1 * m[k][i] / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            v_hat = v[k][i] / (1 - b2**t)
            if rho >= threshold:
                r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
                p[k][i] -= lr * r * m_hat / (math.sqrt(v_hat + eps_root) + eps)
            else:
                p[k][i] -= lr * m_hat
        yield leaves(params, p)
