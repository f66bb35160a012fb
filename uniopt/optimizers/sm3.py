r"""SM3: Adagrad that keeps one number for each row and column instead of one for each parameter."""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.leafwise import leafwise
from uniopt.moments import average
from uniopt.numerics import abs_squared
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleBySM3State(NamedTuple):
    """The accumulators of each axis, and the momentum."""

    mu: Tree  # for each leaf a list: one vector for each axis, or one number for a 0-d leaf
    nu: Tree  # like the parameters


def scale_by_sm3(b1: Scalar = 0.9, b2: Scalar = 1.0, eps: Scalar = 1e-8) -> GradientTransformation:
    """Rescale the gradients by SM3's rule, without a learning rate; see `sm3` for formula and parameters.

    With `b2` below 1, the accumulators are a running mean with that decay rate instead of a sum.
    """
    return leafwise(
        ScaleBySM3State,
        _init,
        _scale_by_sm3,
        b1=hyperparameters.decay_rate("b1", b1),
        b2=hyperparameters.nonnegative("b2", b2),
        eps=hyperparameters.nonnegative("eps", eps),
    )


def sm3(learning_rate: ScalarOrSchedule, momentum: Scalar = 0.9) -> GradientTransformation:
    r"""Adagrad with the memory of one vector for each axis.

    With accumulators :math:`\mu^{(a)}` for each axis :math:`a` and :math:`i` the index of an element,

    .. math::

        \nu_t(i) &= |g_t(i)|^2 + \min_a \mu_{t-1}^{(a)}(i_a) \\
        \mu_t^{(a)}(j) &= \max_{i : i_a = j} \nu_t(i) \\
        m_t &= \beta m_{t-1} + (1 - \beta)\, g_t / \sqrt{\nu_t + \varepsilon}, \qquad u_t = -\eta_t m_t

    where the quotient is 0 if :math:`\nu_t` is, and :math:`\varepsilon = 10^{-8}`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    momentum
        :math:`\beta` in [0, 1): decay rate of the momentum.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleBySM3State`: ``mu``, a list of real vectors for each leaf, and ``nu`` in the parameters'
        dtype, float32 for 16-bit ones.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    A 0-d leaf is plain Adagrad; optax takes none. optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Anil et al., "Memory-efficient adaptive optimization", NeurIPS 2019, arXiv:1901.11150.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.sm3(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.01,  0.01])
    """
    decay = hyperparameters.decay_rate("momentum", momentum)
    return chain(scale_by_sm3(decay), scale_by_learning_rate(learning_rate))


def _other_axes(axis: int, ndim: int) -> tuple[int, ...]:
    return tuple(a for a in range(ndim) if a != axis)


def _init(xp: Any, p: Array) -> dict[str, Any]:
    squared = abs_squared(xp, p)
    axes = range(max(p.ndim, 1))
    return {
        "mu": [xp.zeros_like(xp.sum(squared, axis=_other_axes(a, p.ndim))) for a in axes],
        "nu": xp.zeros_like(p),
    }


def _scale_by_sm3(
    xp: Any, g: Array, s: ScaleBySM3State, *, b1: Scalar, b2: Scalar, eps: Scalar
) -> tuple[Array, ScaleBySM3State]:
    along = [xp.reshape(mu, (1,) * a + (-1,) + (1,) * (g.ndim - a - 1)) for a, mu in enumerate(s.mu)]
    least = reduce(xp.minimum, along) if g.ndim else s.mu[0]
    cumulative = isinstance(b2, float) and b2 == 1.0
    total = abs_squared(xp, g) + least if cumulative else average(b2, least, abs_squared(xp, g))
    zero = total == 0
    divisor = xp.sqrt(xp.where(zero, xp.ones_like(total), total + eps))
    nu = average(b1, s.nu, xp.where(zero, xp.zeros_like(g), g / divisor))
    mu = [xp.max(total, axis=_other_axes(a, g.ndim)) if g.ndim > 1 else total for a in range(max(g.ndim, 1))]
    return nu, s._replace(mu=mu, nu=nu)
