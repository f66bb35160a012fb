r"""FTRL: follow the regularized leader, for sparse linear models."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.numerics import abs_squared, full_like, power, require_order
from uniopt.transformation import GradientTransformation
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByFtrlState(NamedTuple):
    """The sum of the squared gradients, and the linear term."""

    count: Array  # int32, shape ()
    accumulator: Tree  # like the parameters, real
    linear: Tree  # like the parameters


def scale_by_ftrl(
    learning_rate: ScalarOrSchedule = 1e-3,
    learning_rate_power: Scalar = -0.5,
    initial_accumulator_value: Scalar = 0.1,
    l1_regularization_strength: Scalar = 0.0,
    l2_regularization_strength: Scalar = 0.0,
    l2_shrinkage_regularization_strength: Scalar = 0.0,
    beta: Scalar = 0.0,
) -> GradientTransformation:
    """Turn the gradients into FTRL's steps, negated already; see `ftrl`, which is the same."""
    return ftrl(
        learning_rate,
        learning_rate_power,
        initial_accumulator_value,
        l1_regularization_strength,
        l2_regularization_strength,
        l2_shrinkage_regularization_strength,
        beta,
    )


def ftrl(
    learning_rate: ScalarOrSchedule = 1e-3,
    learning_rate_power: Scalar = -0.5,
    initial_accumulator_value: Scalar = 0.1,
    l1_regularization_strength: Scalar = 0.0,
    l2_regularization_strength: Scalar = 0.0,
    l2_shrinkage_regularization_strength: Scalar = 0.0,
    beta: Scalar = 0.0,
) -> GradientTransformation:
    r"""Follow the regularized leader: the parameters are a function of all gradients so far.

    With :math:`\tilde g_t = g_t + 2 s p_{t-1}`, :math:`q` the negated power and :math:`\lambda_2' = \lambda_2 +
    \beta / (2 \eta_t)`,

    .. math::

        a_t &= a_{t-1} + g_t^2 \\
        z_t &= z_{t-1} + \tilde g_t - \frac{a_t^q - a_{t-1}^q}{\eta_t}\, p_{t-1} \\
        p_t &= \frac{\mathrm{clip}(z_t, -\lambda_1, \lambda_1) - z_t}{a_t^q / \eta_t + 2 \lambda_2'},
        \qquad u_t = p_t - p_{t-1}

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count; above 0.
    learning_rate_power
        :math:`-q`, not above 0.
    initial_accumulator_value
        :math:`a_0`.
    l1_regularization_strength, l2_regularization_strength
        :math:`\lambda_1, \lambda_2`.
    l2_shrinkage_regularization_strength
        :math:`s`.
    beta
        :math:`\beta`.

    Returns
    -------
    GradientTransformation
        Its state is a `ScaleByFtrlState`: ``count`` (int32), ``accumulator`` and ``linear`` in the parameters' dtype,
        float32 for 16-bit ones. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.
    DtypeKindError
        At init, for a complex leaf: complex numbers have no order.

    Notes
    -----
    It follows keras.optimizers.Ftrl. A parameter whose denominator is 0 stays where it is (NaN in keras). optax, torch
    and mlx do not have it.

    References
    ----------
    McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.ftrl(0.1, initial_accumulator_value=0.0)
    >>> params = np.asarray([0.0, 0.0])
    >>> tx.update(np.asarray([3.0, -0.5]), tx.init(params), params)[0].round(6)
    array([-0.1,  0.1])
    """
    rate = hyperparameters.learning_rate(learning_rate)
    return leafwise(
        ScaleByFtrlState,
        _init,
        _scale_by_ftrl,
        learning_rate=rate if callable(rate) else hyperparameters.positive("learning_rate", rate),
        learning_rate_power=hyperparameters.nonpositive("learning_rate_power", learning_rate_power),
        initial_accumulator_value=hyperparameters.nonnegative("initial_accumulator_value", initial_accumulator_value),
        l1_regularization_strength=hyperparameters.nonnegative(
            "l1_regularization_strength", l1_regularization_strength
        ),
        l2_regularization_strength=hyperparameters.nonnegative(
            "l2_regularization_strength", l2_regularization_strength
        ),
        l2_shrinkage_regularization_strength=hyperparameters.nonnegative(
            "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength
        ),
        beta=hyperparameters.nonnegative("beta", beta),
    )


def _init(xp: Any, p: Array, *, initial_accumulator_value: Scalar) -> dict[str, Array]:
    require_order(p, "ftrl")
    return {"accumulator": full_like(xp, p, initial_accumulator_value), "linear": xp.zeros_like(p)}


def _scale_by_ftrl(
    xp: Any,
    g: Array,
    s: ScaleByFtrlState,
    *,
    p: Array,
    learning_rate: Scalar,
    learning_rate_power: Scalar,
    l1_regularization_strength: Scalar,
    l2_regularization_strength: Scalar,
    l2_shrinkage_regularization_strength: Scalar,
    beta: Scalar,
) -> tuple[Array, ScaleByFtrlState]:
    accumulator = s.accumulator + abs_squared(xp, g)
    before, after = (power(xp, x, -learning_rate_power) for x in (s.accumulator, accumulator))
    shrunk = g + (2 * l2_shrinkage_regularization_strength) * p
    linear = s.linear + shrunk - (after - before) / learning_rate * p
    quadratic = after / learning_rate + (2 * l2_regularization_strength + beta / learning_rate)
    kept = xp.minimum(xp.maximum(linear, -l1_regularization_strength), l1_regularization_strength)
    still = quadratic == 0
    target = xp.where(still, p, (kept - linear) / xp.where(still, xp.ones_like(quadratic), quadratic))
    return target - p, s._replace(accumulator=accumulator, linear=linear)
