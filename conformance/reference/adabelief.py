"""AdaBelief: Adam with the variance of the gradients about their mean."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Rate, at, elements, leaves, values, zeros


def adabelief(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
    nesterov: bool = False,
) -> Iterator[list[Leaf]]:
    """AdaBelief: p <- p - lr m^ / (sqrt(s^) + eps), s the spread of g about its mean m.

    m <- b1 m + (1 - b1) g;  s <- b2 s + (1 - b2) (g - m)^2 + eps_root;
    m^ = m / (1 - b1^t), with Nesterov b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t);  s^ = s / (1 - b2^t).

    Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients", NeurIPS 2020,
    arXiv:2010.07468, algorithm 2: eps_root is part of the stored s. The paper has one epsilon for both places.
    """
    p, m, s = values(params), zeros(params), zeros(params)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        for k, i, g in elements(params, gradient):
            m[k][i] = b1 * m[k][i] + (1 - b1) * g
            surprise = g - m[k][i]
            s[k][i] = b2 * s[k][i] + (1 - b2) * surprise * surprise + eps_root
            m_hat = m[k][i] / (1 - b1**t)
            if nesterov:
                m_hat = b1 * m[k][i] / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            s_hat = s[k][i] / (1 - b2**t)
            p[k][i] -= lr * m_hat / (math.sqrt(s_hat) + eps)
        yield leaves(params, p)
