"""The Adam family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, elements, leaves, selects, values, zeros


class AdamDirection:
    """The direction d = m^ / (sqrt(v^ + eps_root) + eps) of Adam, element by element.

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  m^ = m / (1 - b1^t);  v^ = v / (1 - b2^t).

    With Nesterov m^ = b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t).

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1 (eps_root is not there).
    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop, algorithm 2, with b1 constant; as in optax
    without the further factor b2 on v^.
    """

    def __init__(
        self, params: Sequence[Leaf], b1: float, b2: float, eps: float, eps_root: float, nesterov: bool = False
    ) -> None:
        self.b1, self.b2, self.eps, self.eps_root, self.nesterov = b1, b2, eps, eps_root, nesterov
        self.m, self.v = zeros(params), zeros(params)

    def __call__(self, k: int, i: int, g: float, t: int) -> float:
        """Take in the gradient of one element in step t, and return its direction."""
        b1, b2 = self.b1, self.b2
        self.m[k][i] = m = b1 * self.m[k][i] + (1 - b1) * g
        self.v[k][i] = v = b2 * self.v[k][i] + (1 - b2) * g * g
        m_hat = m / (1 - b1**t)
        if self.nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        return m_hat / (math.sqrt(v_hat + self.eps_root) + self.eps)


def adam(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    nesterov: bool = False,
) -> Iterator[list[Leaf]]:
    """Adam: p <- p - lr d, with d of `AdamDirection`.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, arXiv:1412.6980.
    """
    p = values(params)
    direction = AdamDirection(params, b1, b2, eps, eps_root, nesterov)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        for k, i, g in elements(params, gradient):
            p[k][i] -= lr * direction(k, i, g, t)
        yield leaves(params, p)


def adamw(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: Rate = 1e-4,
    mask: Mask = None,
    nesterov: bool = False,
) -> Iterator[list[Leaf]]:
    """Adam with decoupled decay: p <- p - lr (d + wd p), with d of `AdamDirection`; wd is 0 where the mask is False.

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101. In the paper the decay
    is not multiplied by lr, only by the schedule's multiplier; it is in optax and torch.
    """
    p = values(params)
    direction = AdamDirection(params, b1, b2, eps, eps_root, nesterov)
    for t, gradient in enumerate(gradients, start=1):
        lr, decay = at(learning_rate, t - 1), at(weight_decay, t - 1)
        for k, i, g in elements(params, gradient):
            wd = decay if selects(mask, k) else 0.0
            p[k][i] -= lr * (direction(k, i, g, t) + wd * p[k][i])
        yield leaves(params, p)


def nadam(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    nesterov: bool = True,
) -> Iterator[list[Leaf]]:
    """Adam with Nesterov momentum: p <- p - lr d, with d of `AdamDirection`.

    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop.
    """
    return adam(
        params, gradients, learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov
    )


def nadamw(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: Rate = 1e-4,
    mask: Mask = None,
    nesterov: bool = True,
) -> Iterator[list[Leaf]]:
    """AdamW with Nesterov momentum: p <- p - lr (d + wd p), with d of `AdamDirection`.

    Dozat 2016 and Loshchilov and Hutter 2019, as above.
    """
    return adamw(
        params,
        gradients,
        learning_rate=learning_rate,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        weight_decay=weight_decay,
        mask=mask,
        nesterov=nesterov,
    )


def amsgrad(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Iterator[list[Leaf]]:
    """Adam with a second moment that never falls: w <- max(w, v^);  p <- p - lr m^ / (sqrt(w + eps_root) + eps).

    m, v, m^, v^ as in Adam; a bias correction that is turned off leaves m^ = m or v^ = v.

    Reddi et al., "On the convergence of Adam and beyond", ICLR 2018, arXiv:1904.09237, has no bias corrections. By
    default the maximum is over the corrected v^, as in optax; torch and keras take it over v and correct afterwards.
    """
    p, m, v, w = values(params), zeros(params), zeros(params), zeros(params)
    for t, gradient in enumerate(gradients, start=1):
        lr = at(learning_rate, t - 1)
        for k, i, g in elements(params, gradient):
            m[k][i] = b1 * m[k][i] + (1 - b1) * g
            v[k][i] = b2 * v[k][i] + (1 - b2) * g * g
            m_hat = m[k][i] / (1 - b1**t) if bias_correction_mu else m[k][i]
            v_hat = v[k][i] / (1 - b2**t) if bias_correction_nu else v[k][i]
            w[k][i] = maximum(w[k][i], v_hat)
            p[k][i] -= lr * m_hat / (math.sqrt(w[k][i] + eps_root) + eps)
        yield leaves(params, p)
