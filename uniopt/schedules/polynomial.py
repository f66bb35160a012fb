"""Constants, lines and powers: from one value to another in a number of steps."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.schedules.time import of_time, since, whole
from uniopt.transformation import Bound
from uniopt.typing import Scalar, Schedule


def constant_schedule(value: Scalar) -> Schedule:
    """Return the schedule that has the same value at every step.

    Parameters
    ----------
    value
        The value.

    Examples
    --------
    >>> import uniopt
    >>> uniopt.constant_schedule(0.5)(100)
    0.5
    """
    return Bound(_constant_schedule, value=hyperparameters.number("value", value))


def linear_schedule(
    init_value: Scalar, end_value: Scalar, transition_steps: float, transition_begin: float = 0
) -> Schedule:
    r"""Return the schedule that goes from one value to another in a straight line, and stays there.

    .. math::

        \eta(n) = a + (b - a) \min\left(1, \max(0, n - n_0) / T\right)

    Parameters
    ----------
    init_value, end_value
        :math:`a` and :math:`b`.
    transition_steps
        :math:`T`, in steps; 0 or less means that the value stays `init_value`.
    transition_begin
        :math:`n_0`, the number of steps before the line begins; below 0 it is 0.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.linear_schedule(0.0, 1.0, transition_steps=4)
    >>> [schedule(n) for n in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    parameters = _transition(init_value, end_value, transition_steps, transition_begin)
    return Bound(_linear_schedule, **parameters) if transition_steps > 0 else constant_schedule(init_value)


def polynomial_schedule(
    init_value: Scalar, end_value: Scalar, power: Scalar, transition_steps: float, transition_begin: float = 0
) -> Schedule:
    r"""Return the schedule that goes from one value to another along a power, and stays there.

    .. math::

        \eta(n) = b + (a - b) \left(1 - \min\left(1, \max(0, n - n_0) / T\right)\right)^p

    Parameters
    ----------
    init_value, end_value
        :math:`a` and :math:`b`.
    power
        :math:`p`, not below 0. With 1 it is `linear_schedule`; above 1 the change is quick at first.
    transition_steps
        :math:`T`, in steps; 0 or less means that the value stays `init_value`.
    transition_begin
        :math:`n_0`, the number of steps before the transition begins; below 0 it is 0.

    Raises
    ------
    HyperparameterError
        If `power` is below 0.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.polynomial_schedule(1.0, 0.0, power=2, transition_steps=4)
    >>> [schedule(n) for n in (0, 1, 2, 4, 9)]
    [1.0, 0.5625, 0.25, 0.0, 0.0]
    """
    parameters = _transition(init_value, end_value, transition_steps, transition_begin)
    parameters["power"] = hyperparameters.nonnegative("power", power)
    return Bound(_polynomial_schedule, **parameters) if transition_steps > 0 else constant_schedule(init_value)


def polynomial_restarts_schedule(
    init_value: Scalar, end_value: Scalar, power: Scalar, transition_steps: float
) -> Schedule:
    r"""Return the schedule that falls along a power to an end again and again, each time on a flatter curve.

    .. math::

        \eta(n) = b + (a - b) \left(1 - \frac{n}{k T}\right)^p, \qquad k = \max(1, \lceil n / T \rceil)

    Parameters
    ----------
    init_value, end_value
        :math:`a` and :math:`b`. The end is reached at every multiple of :math:`T`; the step after it is on the curve
        from :math:`a` at step 0 to :math:`b` at the next multiple.
    power
        :math:`p`, not below 0.
    transition_steps
        :math:`T`, in steps, above 0.

    Raises
    ------
    HyperparameterError
        If `power` is below 0, or `transition_steps` not above 0.

    Notes
    -----
    It is ``PolynomialDecay`` of keras with ``cycle=True``.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.polynomial_restarts_schedule(1.0, 0.0, power=1, transition_steps=4)
    >>> [schedule(n) for n in (0, 2, 4, 6, 8)]
    [1.0, 0.5, 0.0, 0.25, 0.0]
    """
    return Bound(
        _polynomial_restarts_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        end_value=hyperparameters.number("end_value", end_value),
        power=hyperparameters.nonnegative("power", power),
        transition_steps=hyperparameters.positive_steps("transition_steps", transition_steps),
    )


def _transition(
    init_value: Scalar, end_value: Scalar, transition_steps: float, transition_begin: float
) -> dict[str, Any]:
    return {
        "init_value": hyperparameters.number("init_value", init_value),
        "end_value": hyperparameters.number("end_value", end_value),
        "transition_steps": hyperparameters.steps("transition_steps", transition_steps),
        "transition_begin": max(0, hyperparameters.steps("transition_begin", transition_begin)),
    }


@of_time
def _constant_schedule(xp: Any, n: Scalar, *, value: Scalar) -> Scalar:
    return value + 0.0 * n


@of_time
def _linear_schedule(xp: Any, n: Scalar, *, init_value: Scalar, end_value: Scalar, **transition: float) -> Scalar:
    return (init_value - end_value) * _left(xp, n, **transition) + end_value


@of_time
def _polynomial_schedule(
    xp: Any, n: Scalar, *, init_value: Scalar, end_value: Scalar, power: Scalar, **transition: float
) -> Scalar:
    return (init_value - end_value) * xp.pow(_left(xp, n, **transition), power) + end_value


@of_time
def _polynomial_restarts_schedule(
    xp: Any, n: Scalar, *, init_value: Scalar, end_value: Scalar, power: Scalar, transition_steps: float
) -> Scalar:
    rounds = xp.maximum(-whole(xp, -n, transition_steps), 1.0)
    left = xp.maximum(1.0 - n / (rounds * float(transition_steps)), 0.0)
    return (init_value - end_value) * xp.pow(left, power) + end_value


def _left(xp: Any, n: Scalar, *, transition_steps: float, transition_begin: float) -> Scalar:
    """Return the share of a transition that is still to come."""
    return 1.0 - xp.minimum(since(xp, n, transition_begin) / float(transition_steps), 1.0)
