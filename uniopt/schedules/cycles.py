"""Cycles that begin again and again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.schedules.cosine import half_wave
from uniopt.schedules.join import join_schedules
from uniopt.schedules.time import of_time, power, whole
from uniopt.schedules.warmup import warmup_cosine_decay_schedule
from uniopt.transformation import Bound
from uniopt.typing import Scalar, Schedule


def cyclic_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    rise_steps: float,
    fall_steps: float | None = None,
    decay_per_cycle: Scalar = 1.0,
    decay_per_step: Scalar = 1.0,
) -> Schedule:
    r"""Return the schedule that goes up and down between two values in straight lines.

    .. math::

        \eta(n) = a + (b - a)\, c^k d^n \min\left(\frac{m}{T_1}, \frac{T_1 + T_2 - m}{T_2}\right),
        \qquad n = k (T_1 + T_2) + m

    Parameters
    ----------
    init_value, peak_value
        :math:`a` and :math:`b`.
    rise_steps
        :math:`T_1`, the number of steps up, above 0.
    fall_steps
        :math:`T_2`, the number of steps down, above 0; None means as many as up.
    decay_per_cycle
        :math:`c`, what the height is multiplied by in every cycle.
    decay_per_step
        :math:`d`, what the height is multiplied by in every step.

    Raises
    ------
    HyperparameterError
        If a number of steps is not above 0, or a decay below 0.

    Notes
    -----
    It is torch's ``CyclicLR``, whose three modes are values of the decays: none for ``"triangular"``,
    ``decay_per_cycle=0.5`` for ``"triangular2"``, and ``decay_per_step=gamma`` for ``"exp_range"``.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", WACV 2017, arXiv:1506.01186.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.cyclic_schedule(0.0, 1.0, rise_steps=2, fall_steps=4, decay_per_cycle=0.5)
    >>> [schedule(n) for n in (0, 1, 2, 4, 6, 8)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    """
    rise = hyperparameters.positive_steps("rise_steps", rise_steps)
    return Bound(
        _cyclic_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        peak_value=hyperparameters.number("peak_value", peak_value),
        rise_steps=rise,
        fall_steps=rise if fall_steps is None else hyperparameters.positive_steps("fall_steps", fall_steps),
        decay_per_cycle=hyperparameters.nonnegative("decay_per_cycle", decay_per_cycle),
        decay_per_step=hyperparameters.nonnegative("decay_per_step", decay_per_step),
    )


def cosine_restarts_schedule(
    init_value: Scalar, first_decay_steps: float, t_mul: float = 1.0, m_mul: Scalar = 1.0, alpha: Scalar = 0.0
) -> Schedule:
    r"""Return the schedule that falls along half a cosine wave, jumps back up, and falls again, for ever.

    In the :math:`m`-th step of the :math:`k`-th cycle, both counted from 0:

    .. math::

        \eta(n) = a \left((1 - \alpha)\, M^k\, \tfrac12 (1 + \cos(\pi m / (T\, r^k))) + \alpha\right)

    Parameters
    ----------
    init_value
        :math:`a`, the first value.
    first_decay_steps
        :math:`T`, the number of steps of the first cycle, above 0.
    t_mul
        :math:`r`, by which every cycle is longer than the one before; not below 1.
    m_mul
        :math:`M`, what the height is multiplied by in every cycle.
    alpha
        :math:`\alpha`, the share of the first value to which every cycle falls.

    Raises
    ------
    HyperparameterError
        If `first_decay_steps` is not above 0, `t_mul` below 1, or `m_mul` below 0.

    Notes
    -----
    It is torch's ``CosineAnnealingWarmRestarts``, and keras' ``CosineDecayRestarts``, whose `t_mul` is 2 by default.
    `sgdr_schedule` is given every cycle by itself.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.cosine_restarts_schedule(1.0, first_decay_steps=10, t_mul=2.0)
    >>> [round(schedule(n), 6) for n in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    growth = hyperparameters.number("t_mul", t_mul, at_least=1.0)
    if not isinstance(growth, float):  # which of two formulas holds is decided now
        raise HyperparameterError(f"t_mul is {t_mul!r}, expected a Python number not below 1, and no array.")
    return Bound(
        _cosine_restarts_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        first_decay_steps=hyperparameters.positive_steps("first_decay_steps", first_decay_steps),
        t_mul=growth,
        m_mul=hyperparameters.nonnegative("m_mul", m_mul),
        alpha=hyperparameters.number("alpha", alpha),
    )


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Return the schedule of several `warmup_cosine_decay_schedule`, one after another.

    Parameters
    ----------
    cosine_kwargs
        The arguments of each; its `decay_steps` are the number of its steps.

    Raises
    ------
    HyperparameterError
        If there are none, or one is not made of the arguments of `warmup_cosine_decay_schedule`.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983.

    Examples
    --------
    >>> import uniopt
    >>> cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 10, "decay_steps": 20}
    >>> schedule = uniopt.sgdr_schedule([cycle, {**cycle, "peak_value": 0.5}])
    >>> [schedule(n) for n in (0, 10, 15, 20, 30, 40)]
    [0.0, 1.0, 0.5, 0.0, 0.5, 0.0]
    """
    schedules, boundaries = [], [0.0]
    for i, arguments in enumerate(cosine_kwargs):
        try:
            schedules.append(warmup_cosine_decay_schedule(**arguments))
        except TypeError as error:
            raise HyperparameterError(
                f"cosine_kwargs[{i}] is {arguments!r}, expected arguments of warmup_cosine_decay_schedule as a dict: "
                f"{error}."
            ) from None
        boundaries.append(boundaries[-1] + arguments["decay_steps"])
    if not schedules:
        raise HyperparameterError("cosine_kwargs is empty, expected one dict or more.")
    return join_schedules(schedules, boundaries[1:-1])


@of_time
def _cyclic_schedule(
    xp: Any,
    n: Scalar,
    *,
    init_value: Scalar,
    peak_value: Scalar,
    rise_steps: float,
    fall_steps: float,
    decay_per_cycle: Scalar,
    decay_per_step: Scalar,
) -> Scalar:
    length = float(rise_steps + fall_steps)
    cycle = whole(xp, n, length)
    within = n - cycle * length
    height = xp.minimum(within / float(rise_steps), (length - within) / float(fall_steps))
    decay = power(xp, decay_per_cycle, cycle) * power(xp, decay_per_step, n)
    return init_value + (peak_value - init_value) * height * decay


@of_time
def _cosine_restarts_schedule(
    xp: Any, n: Scalar, *, init_value: Scalar, first_decay_steps: float, t_mul: float, m_mul: Scalar, alpha: Scalar
) -> Scalar:
    cycle, done = _cycle(xp, n, float(first_decay_steps), t_mul)
    return init_value * ((1.0 - alpha) * (power(xp, m_mul, cycle) * half_wave(xp, done)) + alpha)


def _cycle(xp: Any, n: Scalar, length: float, growth: float) -> tuple[Scalar, Scalar]:
    """Return the number of the cycle, counted from 0, and the share of it that is done."""
    if growth == 1.0:
        cycle = whole(xp, n, length)
        return cycle, n / length - cycle
    # The logarithm only tells which cycle begins near; where that is, whole numbers say exactly.
    near = xp.round(xp.log(1.0 + n * (growth - 1.0) / length) / math.log(growth))
    lengths = (xp.pow(growth, near) - 1.0) / (growth - 1.0)
    begin = length * (xp.round(lengths) if growth.is_integer() else lengths)
    cycle = xp.where(n < begin, near - 1.0, near)
    size = length * xp.pow(growth, cycle)
    return cycle, xp.where(n < begin, n - begin + size, n - begin) / size
