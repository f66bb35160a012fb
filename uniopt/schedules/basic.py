"""Constant, linear and cosine schedules, and joining them one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.schedules.time import as_time
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
    init_value: Scalar, end_value: Scalar, transition_steps: int, transition_begin: int = 0
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
        :math:`n_0`, the number of steps before the line begins.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.linear_schedule(0.0, 1.0, transition_steps=4)
    >>> [schedule(n) for n in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return Bound(
        _linear_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        end_value=hyperparameters.number("end_value", end_value),
        transition_steps=int(transition_steps),
        transition_begin=int(transition_begin),
    )


def cosine_decay_schedule(
    init_value: Scalar, decay_steps: int, alpha: Scalar = 0.0, exponent: Scalar = 1.0
) -> Schedule:
    r"""Return the schedule that falls along half a cosine wave, and stays at the end.

    .. math::

        \eta(n) = a \left((1 - \alpha)\left[\tfrac12 (1 + \cos(\pi \min(n, T) / T))\right]^p + \alpha\right)

    Parameters
    ----------
    init_value
        :math:`a`, the first value.
    decay_steps
        :math:`T`, in steps, at least 1.
    alpha
        :math:`\alpha`, the share of the first value that is left at the end.
    exponent
        :math:`p`.

    Raises
    ------
    HyperparameterError
        If `decay_steps` is below 1.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.cosine_decay_schedule(1.0, decay_steps=10)
    >>> schedule(0), schedule(10)
    (1.0, 0.0)
    """
    if not decay_steps > 0:
        raise HyperparameterError(f"decay_steps is {decay_steps!r}, expected a number of steps of at least 1.")
    return Bound(
        _cosine_decay_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        decay_steps=int(decay_steps),
        alpha=hyperparameters.number("alpha", alpha),
        exponent=hyperparameters.number("exponent", exponent),
    )


def warmup_cosine_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: int,
    decay_steps: int,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """Return a straight rise followed by a cosine fall.

    Parameters
    ----------
    init_value
        The first value.
    peak_value
        The value after the rise.
    warmup_steps
        Number of steps of the rise.
    decay_steps
        Number of steps altogether, the rise included.
    end_value
        The value at the end of the fall, and from then on.
    exponent
        Power of the cosine, as in `cosine_decay_schedule`.

    Raises
    ------
    HyperparameterError
        If no step is left for the fall.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=110)
    >>> schedule(5), schedule(10), schedule(60), schedule(110)
    (0.5, 1.0, 0.5, 0.0)
    """
    peak = hyperparameters.number("peak_value", peak_value)
    end = hyperparameters.number("end_value", end_value)
    alpha = 0.0 if isinstance(peak, float) and peak == 0.0 else end / peak
    return join_schedules(
        [
            linear_schedule(init_value, peak, warmup_steps),
            cosine_decay_schedule(peak, decay_steps - warmup_steps, alpha, exponent),
        ],
        [warmup_steps],
    )


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Return the schedule that follows several others one after another.

    Parameters
    ----------
    schedules
        The schedules; each counts its own steps from 0.
    boundaries
        The step counts at which the second, third, ... take over; one fewer than schedules.

    Raises
    ------
    HyperparameterError
        If the numbers of schedules and boundaries do not fit.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.join_schedules([uniopt.constant_schedule(1.0), uniopt.constant_schedule(0.1)], [100])
    >>> schedule(99), schedule(100)
    (1.0, 0.1)
    """
    if len(schedules) != len(boundaries) + 1:
        raise HyperparameterError(
            f"There are {len(schedules)} schedules and {len(boundaries)} boundaries, expected one boundary fewer."
        )
    return Bound(_join_schedules, schedules=tuple(schedules), boundaries=tuple(int(n) for n in boundaries))


def _constant_schedule(count: Scalar, *, value: Scalar) -> Scalar:
    _, n = as_time(count)
    return value + 0.0 * n


def _linear_schedule(
    count: Scalar, *, init_value: Scalar, end_value: Scalar, transition_steps: int, transition_begin: int
) -> Scalar:
    if transition_steps <= 0:
        return _constant_schedule(count, value=init_value)
    xp, n = as_time(count)
    done = xp.minimum(xp.maximum(n - transition_begin, 0.0), float(transition_steps)) / transition_steps
    return (init_value - end_value) * (1.0 - done) + end_value


def _cosine_decay_schedule(
    count: Scalar, *, init_value: Scalar, decay_steps: int, alpha: Scalar, exponent: Scalar
) -> Scalar:
    xp, n = as_time(count)
    wave = 0.5 * (1.0 + xp.cos(math.pi * xp.minimum(n, float(decay_steps)) / decay_steps))
    return init_value * ((1.0 - alpha) * wave**exponent + alpha)


def _join_schedules(count: Scalar, *, schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Scalar:
    xp, _ = as_time(count)
    value = schedules[0](count)
    for boundary, schedule in zip(boundaries, schedules[1:], strict=True):
        value = xp.where(count < boundary, value, schedule(count - boundary))
    return value
