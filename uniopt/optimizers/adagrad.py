r"""Adagrad: steps that shrink with the sum of the squared gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.numerics import abs_squared, nonzero, real_full_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByRssState(NamedTuple):
    """The sum of the squared gradients."""

    sum_of_squares: Tree  # like the parameters, real


class ScaleByRssWithCountState(NamedTuple):
    """The sum of the squared gradients, and the step count by which the steps fall further."""

    count: Array  # int32, shape ()
    sum_of_squares: Tree  # like the parameters, real


def scale_by_rss(
    initial_accumulator_value: Scalar = 0.1,
    eps: Scalar = 1e-7,
    *,
    eps_in_sqrt: bool = True,
    rate_decay: Scalar = 0.0,
) -> GradientTransformation:
    r"""Divide by the root of the sum of the squared gradients; see `adagrad` for formula and parameters.

    Without `eps_in_sqrt`, epsilon is added outside the root, as in torch and mlx. With a `rate_decay` :math:`\gamma`,
    torch's ``lr_decay``, the result is divided by :math:`1 + (t - 1) \gamma`; the state then is
    `ScaleByRssWithCountState`.
    """
    falling = hyperparameters.nonnegative("rate_decay", rate_decay)
    return leafwise(
        ScaleByRssWithCountState if _falls(falling) else ScaleByRssState,
        _init,
        _scale_by_rss,
        initial_accumulator_value=hyperparameters.nonnegative("initial_accumulator_value", initial_accumulator_value),
        eps=hyperparameters.nonnegative("eps", eps),
        eps_in_sqrt=hyperparameters.switch("eps_in_sqrt", eps_in_sqrt),
        rate_decay=falling,
    )


def adagrad(
    learning_rate: ScalarOrSchedule, initial_accumulator_value: Scalar = 0.1, eps: Scalar = 1e-7
) -> GradientTransformation:
    r"""Steps divided by the root of the sum of all squared gradients.

    .. math::

        a_t = a_{t-1} + |g_t|^2, \qquad
        u_t = -\eta_t\, g_t / \sqrt{a_t + \varepsilon} \quad\text{or 0 where } a_t = 0

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    initial_accumulator_value
        :math:`a_0`.
    eps
        :math:`\varepsilon`, inside the root.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByRssState`: ``sum_of_squares`` in the parameters' dtype, float32 for 16-bit ones; it is
        real.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax and keras are the same. torch and mlx start at 0 and add epsilon outside the root.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 2011.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adagrad(0.1, initial_accumulator_value=0.0)
    >>> grads = np.asarray([3.0, -0.5, 0.0])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.1,  0.1, -0. ])
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))


def _init(xp: Any, p: Array, *, initial_accumulator_value: Scalar) -> dict[str, Array]:
    return {"sum_of_squares": real_full_like(xp, p, initial_accumulator_value)}


def _scale_by_rss(
    xp: Any, g: Array, s: Any, *, t: Time, eps: Scalar, eps_in_sqrt: bool, rate_decay: Scalar
) -> tuple[Array, Any]:
    total = s.sum_of_squares + abs_squared(xp, g)
    if eps_in_sqrt:
        zero = total == 0
        divisor = xp.sqrt(xp.where(zero, xp.ones_like(total), total + eps))
        update = xp.where(zero, xp.zeros_like(g), g / divisor)
    else:
        update = g / nonzero(xp, xp.sqrt(total) + eps, eps)
    if _falls(rate_decay):
        update = update / t.once(_slowdown, rate_decay)
    return update, s._replace(sum_of_squares=total)


def _falls(rate_decay: Scalar) -> bool:
    return not (isinstance(rate_decay, float) and rate_decay == 0.0)


def _slowdown(xp: Any, t: Array, rate_decay: Scalar) -> Array:
    return 1.0 + (t - 1) * rate_decay
