"""Running moments of the gradients, as the Adam-like rules use them."""

from __future__ import annotations

import math
from typing import Any

from uniopt import hyperparameters, numerics
from uniopt.clock import Time
from uniopt.typing import Array, Scalar


def average(decay: Scalar, old: Array, new: Array) -> Array:
    r"""Return the next value of a running mean, :math:`\beta m + (1 - \beta) x`."""
    return decay * old + (1 - decay) * new


def corrected(t: Time, mu: Array, g: Array, b1: Scalar, nesterov: bool = False) -> Array:
    """Return the first moment without the bias of its start at zero; with `nesterov`, one step ahead."""
    if nesterov:
        # Dozat's algorithm also multiplies the second moment by b2; no implementation does.
        return b1 * (mu / t.bias_correction(b1, ahead=1)) + (1 - b1) * (g / t.bias_correction(b1))
    return mu / t.bias_correction(b1)


def rising(t: Time, mu: Array, g: Array, b1: Scalar, momentum_decay: Scalar, product: Array) -> tuple[Array, Array]:
    r"""Return the first moment one step ahead under a momentum that rises over the first steps, and its next product.

    With :math:`\mu_t = \beta_1 (1 - \frac12 0.96^{t \psi})` and their product :math:`\pi_t`, it is
    :math:`\mu_{t+1} m_t / (1 - \pi_{t+1}) + (1 - \mu_t) g_t / (1 - \pi_t)`.
    """
    now, ahead = (t.once(_rising, b1, momentum_decay, n) for n in (0, 1))
    product = product * now
    return ahead / (1 - product * ahead) * mu + (1 - now) / (1 - product) * g, product


def root(xp: Any, nu: Array, eps_root: Scalar) -> Array:
    """Return ``sqrt(nu + eps_root)``."""
    # Adding 0 changes nothing and costs a pass over memory.
    return xp.sqrt(nu) if isinstance(eps_root, float) and eps_root == 0.0 else xp.sqrt(nu + eps_root)


def root_of_correction(xp: Any, t: Array, b2: Scalar) -> Array:
    r"""Return :math:`\sqrt{1 - \beta_2^t}`, for rules that correct the root of the second moment."""
    return xp.sqrt(numerics.bias_correction(xp, t, b2) * xp.ones_like(t))


def checked(b1: Scalar, b2: Scalar, eps: Scalar, eps_root: Scalar) -> dict[str, Scalar]:
    """Return the hyperparameters that these rules share, normalised; HyperparameterError if one is out of range."""
    return {
        "b1": hyperparameters.decay_rate("b1", b1),
        "b2": hyperparameters.decay_rate("b2", b2),
        "eps": hyperparameters.nonnegative("eps", eps),
        "eps_root": hyperparameters.nonnegative("eps_root", eps_root),
    }


def _rising(xp: Any, t: Array, b1: Scalar, momentum_decay: Scalar, ahead: int) -> Array:
    return b1 * (1 - 0.5 * xp.exp((t + ahead) * (momentum_decay * math.log(0.96))))
