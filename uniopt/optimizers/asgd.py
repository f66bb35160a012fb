r"""ASGD: gradient descent with a falling rate and an average of the parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.numerics import power, real_full_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights, shrinkage
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByAsgdState(NamedTuple):
    """The average of the parameters."""

    count: Array  # int32, shape ()
    ax: Tree  # like the parameters


class ScaleByAsgdWithRateState(NamedTuple):
    """The average of the parameters, and the rates of the next steps."""

    count: Array  # int32, shape ()
    ax: Tree  # like the parameters
    eta: Tree  # one number a leaf, shape ()


def scale_by_asgd(
    learning_rate: ScalarOrSchedule = 1e-2,
    lambd: Scalar = 1e-4,
    alpha: Scalar = 0.75,
    t0: Scalar = 1e6,
    *,
    multiply_decay: bool = False,
    keep_rate: bool = False,
) -> GradientTransformation:
    r"""Turn the gradients into ASGD's steps, negated already; see `asgd` for formula and parameters.

    With `multiply_decay`, the parameters are multiplied by :math:`1 - \lambda\eta_n`. With `keep_rate`, each step
    leaves behind the rate of the next one, so that a schedule has its effect one step late, but for the first step of a
    leaf; the state then is `ScaleByAsgdWithRateState`. torch has both.
    """
    keep_rate = hyperparameters.switch("keep_rate", keep_rate)
    return leafwise(
        ScaleByAsgdWithRateState if keep_rate else ScaleByAsgdState,
        _init_with_rate if keep_rate else _init,
        _scale_by_asgd,
        learning_rate=hyperparameters.learning_rate(learning_rate),
        lambd=hyperparameters.nonnegative("lambd", lambd),
        alpha=hyperparameters.number("alpha", alpha),
        t0=hyperparameters.nonnegative("t0", t0),
        multiply_decay=hyperparameters.switch("multiply_decay", multiply_decay),
        keep_rate=keep_rate,
    )


def asgd(
    learning_rate: ScalarOrSchedule = 1e-2,
    lambd: Scalar = 1e-4,
    alpha: Scalar = 0.75,
    t0: Scalar = 1e6,
    weight_decay: Scalar = 0.0,
) -> GradientTransformation:
    r"""Gradient descent with a falling rate, which also averages the parameters.

    With :math:`n = t - 1` the number of steps taken before,

    .. math::

        \eta_n &= \frac{\eta}{(1 + \lambda \eta n)^\alpha}, \qquad \mu_n = \frac{1}{\max(1, n - t_0)} \\
        u_t &= -\eta_n \left( g_t + \delta p_{t-1} + \lambda p_{t-1} \right) \\
        a_t &= a_{t-1} + \mu_n \left( p_t - a_{t-1} \right)

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    lambd
        :math:`\lambda`, by which the rate falls and the parameters decay.
    alpha
        :math:`\alpha`, exponent of the fall.
    t0
        :math:`t_0`, the step from which the parameters are averaged; before it the average is their last value.
    weight_decay
        :math:`\delta`, coupled: it is added to the gradients.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAsgdState`: ``count`` (int32) and ``ax``, the average of the parameters, in the
        parameters' dtype, float32 for 16-bit ones. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    It follows torch.optim.ASGD, which multiplies the parameters by :math:`1 - \lambda\eta_n` instead, and where another
    learning rate has its effect one step late. optax, mlx and keras do not have it.

    References
    ----------
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.asgd(0.1, lambd=0.0)
    >>> params = np.asarray([3.0, -0.5])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([-0.3 ,  0.05])
    """
    return chain(add_decayed_weights(weight_decay), scale_by_asgd(learning_rate, lambd, alpha, t0))


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"ax": xp.zeros_like(p)}


def _init_with_rate(xp: Any, p: Array) -> dict[str, Array]:
    return {**_init(xp, p), "eta": xp.zeros_like(xp.sum(real_full_like(xp, p)))}


def _scale_by_asgd(
    xp: Any,
    g: Array,
    s: Any,
    *,
    p: Array,
    t: Time,
    learning_rate: Scalar,
    lambd: Scalar,
    alpha: Scalar,
    t0: Scalar,
    multiply_decay: bool,
    keep_rate: bool,
) -> tuple[Array, Any]:
    rate = t.once(_rate, learning_rate, lambd, alpha, 0)
    if keep_rate:
        rate = xp.where(t.is_first(), rate, s.eta)
        s = s._replace(eta=t.once(_rate, learning_rate, lambd, alpha, 1))
    update = shrinkage(p, rate, lambd) - rate * g if multiply_decay else -rate * (g + lambd * p)
    weight = t.once(_weight, t0)
    return update, s._replace(ax=s.ax + weight * (p + update - s.ax))


def _rate(xp: Any, t: Array, learning_rate: Scalar, lambd: Scalar, alpha: Scalar, ahead: int) -> Array:
    return learning_rate / power(xp, 1.0 + lambd * learning_rate * (t - 1 + ahead), alpha)


def _weight(xp: Any, t: Array, t0: Scalar) -> Array:
    return 1.0 / xp.maximum(t - 1 - t0, 1.0)
