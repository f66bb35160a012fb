"""Half a cosine wave, once or for ever."""

from __future__ import annotations

import math
from typing import Any

from uniopt import hyperparameters
from uniopt.schedules.time import of_time
from uniopt.transformation import Bound
from uniopt.typing import Scalar, Schedule


def cosine_decay_schedule(
    init_value: Scalar, decay_steps: float, alpha: Scalar = 0.0, exponent: Scalar = 1.0
) -> Schedule:
    r"""Return the schedule that falls along half a cosine wave, and stays at the end.

    .. math::

        \eta(n) = a \left((1 - \alpha)\left[\tfrac12 (1 + \cos(\pi \min(n, T) / T))\right]^p + \alpha\right)

    Parameters
    ----------
    init_value
        :math:`a`, the first value.
    decay_steps
        :math:`T`, in steps, above 0.
    alpha
        :math:`\alpha`, the share of the first value that is left at the end.
    exponent
        :math:`p`.

    Raises
    ------
    HyperparameterError
        If `decay_steps` is not above 0.

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
    return Bound(
        _cosine_decay_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        decay_steps=hyperparameters.positive_steps("decay_steps", decay_steps),
        alpha=hyperparameters.number("alpha", alpha),
        exponent=hyperparameters.number("exponent", exponent),
    )


def cosine_annealing_schedule(init_value: Scalar, transition_steps: float, end_value: Scalar = 0.0) -> Schedule:
    r"""Return the schedule that falls along a cosine wave, rises again, and so on.

    .. math::

        \eta(n) = b + \tfrac12 (a - b) (1 + \cos(\pi n / T))

    Parameters
    ----------
    init_value
        :math:`a`, the value at every even multiple of :math:`T`.
    transition_steps
        :math:`T`, in steps, above 0: the length of a fall, and of a rise.
    end_value
        :math:`b`, the value at every odd multiple of :math:`T`.

    Raises
    ------
    HyperparameterError
        If `transition_steps` is not above 0.

    Notes
    -----
    It is torch's ``CosineAnnealingLR``. The schedule that stays at the end is `cosine_decay_schedule`; the one that
    jumps back up instead of rising is `cosine_restarts_schedule`.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.cosine_annealing_schedule(1.0, transition_steps=10)
    >>> schedule(0), schedule(10), schedule(20)
    (1.0, 0.0, 1.0)
    """
    return Bound(
        _cosine_annealing_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        transition_steps=hyperparameters.positive_steps("transition_steps", transition_steps),
        end_value=hyperparameters.number("end_value", end_value),
    )


def half_wave(xp: Any, done: Scalar) -> Scalar:
    """Return what is left of 1 when a share of the fall is done."""
    return 0.5 * (1.0 + xp.cos(math.pi * done))


@of_time
def _cosine_decay_schedule(
    xp: Any, n: Scalar, *, init_value: Scalar, decay_steps: float, alpha: Scalar, exponent: Scalar
) -> Scalar:
    wave = half_wave(xp, xp.minimum(n / float(decay_steps), 1.0))
    return init_value * ((1.0 - alpha) * xp.pow(wave, exponent) + alpha)


@of_time
def _cosine_annealing_schedule(
    xp: Any, n: Scalar, *, init_value: Scalar, transition_steps: float, end_value: Scalar
) -> Scalar:
    return end_value + (init_value - end_value) * half_wave(xp, n / float(transition_steps))
