"""Decays without an end: exponential, and as the inverse of the time."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.schedules.polynomial import constant_schedule
from uniopt.schedules.time import of_time, power, since, whole
from uniopt.transformation import Bound
from uniopt.typing import Scalar, Schedule


def exponential_decay(
    init_value: Scalar,
    transition_steps: float,
    decay_rate: Scalar,
    transition_begin: float = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    r"""Return the schedule that is multiplied by a rate in every so many steps, smoothly or all at once.

    .. math::

        \eta(n) = a\, r^{\max(0, n - n_0) / T}

    Parameters
    ----------
    init_value
        :math:`a`.
    transition_steps
        :math:`T`, the number of steps to a multiplication; 0 or less means that the value stays `init_value`.
    decay_rate
        :math:`r`, not below 0; the number 0 means that the value stays `init_value`.
    transition_begin
        :math:`n_0`, the number of steps before the decay begins; below 0 it is 0.
    staircase
        Whether the exponent is rounded down, so that the value changes every :math:`T` steps only.
    end_value
        Where the decay stops: the least value, or with a rate of 1 or more the greatest one.

    Raises
    ------
    HyperparameterError
        If `decay_rate` is below 0.

    Notes
    -----
    With ``staircase=True`` it is torch's ``StepLR`` and mlx's ``step_decay``. The stairs are where the formula has
    them. optax rounds down a quotient, which under ``jax.jit`` makes some of them a step late, with 41 steps for one.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.exponential_decay(1.0, transition_steps=10, decay_rate=0.25)
    >>> schedule(0), schedule(5), schedule(10)
    (1.0, 0.5, 0.25)
    """
    parameters = {
        "init_value": hyperparameters.number("init_value", init_value),
        "transition_steps": hyperparameters.steps("transition_steps", transition_steps),
        "decay_rate": hyperparameters.nonnegative("decay_rate", decay_rate),
        "transition_begin": max(0, hyperparameters.steps("transition_begin", transition_begin)),
        "staircase": bool(staircase),
        "end_value": None if end_value is None else hyperparameters.number("end_value", end_value),
    }
    rate = parameters["decay_rate"]
    if transition_steps <= 0 or (isinstance(rate, float) and rate == 0.0):
        return constant_schedule(init_value)
    return Bound(_exponential_decay, **parameters)


def inverse_time_decay(
    init_value: Scalar,
    transition_steps: float,
    decay_rate: Scalar,
    transition_begin: float = 0,
    staircase: bool = False,
    power: Scalar = 1.0,
) -> Schedule:
    r"""Return the schedule that is divided by the time, or by a power of it.

    .. math::

        \eta(n) = \frac{a}{\left(1 + r \max(0, n - n_0) / T\right)^p}

    Parameters
    ----------
    init_value
        :math:`a`.
    transition_steps
        :math:`T`, in steps, above 0.
    decay_rate
        :math:`r`, not below 0.
    transition_begin
        :math:`n_0`, the number of steps before the decay begins; below 0 it is 0.
    staircase
        Whether the quotient by :math:`T` is rounded down, so that the value changes every :math:`T` steps only.
    power
        :math:`p`. With 1/2 and a rate of 1 it is `inverse_sqrt_schedule`.

    Raises
    ------
    HyperparameterError
        If `transition_steps` is not above 0, or `decay_rate` below 0.

    Notes
    -----
    With a power of 1 it is keras' ``InverseTimeDecay``.

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.inverse_time_decay(1.0, transition_steps=10, decay_rate=1.0)
    >>> schedule(0), schedule(10), schedule(30)
    (1.0, 0.5, 0.25)
    """
    return Bound(
        _inverse_time_decay,
        init_value=hyperparameters.number("init_value", init_value),
        transition_steps=hyperparameters.positive_steps("transition_steps", transition_steps),
        decay_rate=hyperparameters.nonnegative("decay_rate", decay_rate),
        transition_begin=max(0, hyperparameters.steps("transition_begin", transition_begin)),
        staircase=bool(staircase),
        power=hyperparameters.number("power", power),
    )


def inverse_sqrt_schedule(init_value: Scalar, transition_steps: float, transition_begin: float = 0) -> Schedule:
    r"""Return the schedule that is divided by the square root of the time.

    .. math::

        \eta(n) = \frac{a}{\sqrt{1 + \max(0, n - n_0) / T}}

    Parameters
    ----------
    init_value
        :math:`a`.
    transition_steps
        :math:`T`, in steps, above 0.
    transition_begin
        :math:`n_0`, the number of steps before the decay begins; below 0 it is 0.

    Raises
    ------
    HyperparameterError
        If `transition_steps` is not above 0.

    See Also
    --------
    warmup_inverse_sqrt_schedule

    Notes
    -----
    :math:`1 / \sqrt{\max(n, k)}`, with which T5 was trained, is ``inverse_sqrt_schedule(k**-0.5, k, k)``.

    References
    ----------
    Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", JMLR 21, 2020,
    arXiv:1910.10683.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.inverse_sqrt_schedule(1.0, transition_steps=10)
    >>> schedule(0), schedule(30)
    (1.0, 0.5)
    """
    return inverse_time_decay(init_value, transition_steps, 1.0, transition_begin, power=0.5)


@of_time
def _exponential_decay(
    xp: Any, n: Scalar, *, init_value: Scalar, decay_rate: Scalar, end_value: Scalar | None, **times: Any
) -> Scalar:
    value = init_value * power(xp, decay_rate, _transitions(xp, n, **times))
    if end_value is None:
        return value
    least, greatest = xp.maximum(value, end_value), xp.minimum(value, end_value)
    if isinstance(decay_rate, float):
        return least if decay_rate < 1.0 else greatest
    return xp.where(decay_rate < 1.0, least, greatest)


@of_time
def _inverse_time_decay(
    xp: Any, n: Scalar, *, init_value: Scalar, decay_rate: Scalar, power: Scalar, **times: Any
) -> Scalar:
    return init_value / xp.pow(1.0 + decay_rate * _transitions(xp, n, **times), power)


def _transitions(xp: Any, n: Scalar, *, transition_steps: float, transition_begin: float, staircase: bool) -> Scalar:
    """Return how many transitions have passed."""
    n = since(xp, n, transition_begin)
    return whole(xp, n, transition_steps) if staircase else n / float(transition_steps)
