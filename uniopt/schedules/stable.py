"""A rise, a long constant part, and a fall that can begin at any time."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.schedules.cosine import half_wave
from uniopt.schedules.time import of_time, since
from uniopt.transformation import Bound
from uniopt.typing import Scalar, Schedule


def warmup_stable_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: float,
    stable_steps: float,
    decay_steps: float,
    end_value: Scalar = 0.0,
    decay_type: str = "linear",
) -> Schedule:
    r"""Return a straight rise, a long constant part, and a fall at the end.

    Parameters
    ----------
    init_value
        The first value.
    peak_value
        The value of the constant part.
    warmup_steps, stable_steps, decay_steps
        Numbers of steps of the three parts, each by itself; of the fall above 0.
    end_value
        The value at the end of the fall, and from then on.
    decay_type
        What is left of the fall after a share :math:`x` of its steps: ``"linear"`` leaves :math:`1 - x`, ``"cosine"``
        leaves :math:`\tfrac12 (1 + \cos \pi x)`, and ``"1-sqrt"`` leaves :math:`1 - \sqrt{x}`.

    Raises
    ------
    HyperparameterError
        If `decay_steps` is not above 0, another number of steps is below 0, or `decay_type` is no such name.

    References
    ----------
    Hu et al., "MiniCPM: unveiling the potential of small language models with scalable training strategies", COLM 2024,
    arXiv:2404.06395. Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations",
    NeurIPS 2024, arXiv:2405.18392.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.warmup_stable_decay_schedule(0.0, 1.0, warmup_steps=10, stable_steps=70, decay_steps=20)
    >>> [schedule(n) for n in (5, 10, 80, 90, 100)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    return Bound(
        _warmup_stable_decay_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        peak_value=hyperparameters.number("peak_value", peak_value),
        warmup_steps=hyperparameters.steps("warmup_steps", warmup_steps, at_least=0),
        stable_steps=hyperparameters.steps("stable_steps", stable_steps, at_least=0),
        decay_steps=hyperparameters.positive_steps("decay_steps", decay_steps),
        end_value=hyperparameters.number("end_value", end_value),
        decay_type=hyperparameters.one_of("decay_type", decay_type, ("linear", "cosine", "1-sqrt")),
    )


@of_time
def _warmup_stable_decay_schedule(
    xp: Any,
    n: Scalar,
    *,
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: float,
    stable_steps: float,
    decay_steps: float,
    end_value: Scalar,
    decay_type: str,
) -> Scalar:
    done = xp.minimum(since(xp, n, warmup_steps + stable_steps) / float(decay_steps), 1.0)
    if decay_type == "cosine":
        left = half_wave(xp, done)
    else:
        left = 1.0 - (done if decay_type == "linear" else xp.pow(done, 0.5))
    value = (peak_value - end_value) * left + end_value
    if warmup_steps == 0:
        return value
    rise = (peak_value - init_value) * (n / float(warmup_steps)) + init_value
    return xp.where(n < float(warmup_steps), rise, value)
