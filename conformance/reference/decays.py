"""Schedules that go from one value to another and stay there, as functions of the step count n = 0, 1, 2, ...

Names and parameters are the library's, which are optax's where optax has the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def constant_schedule(n: int, *, value: float) -> float:
    """Return the value."""
    return value


def linear_schedule(
    n: int, *, init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0
) -> float:
    """Return a + (b - a) x, where x is the share of the transition that is done."""
    x = min(max(n - transition_begin, 0), transition_steps) / transition_steps
    return init_value + (end_value - init_value) * x


def polynomial_schedule(
    n: int, *, init_value: float, end_value: float, power: float, transition_steps: int, transition_begin: int = 0
) -> float:
    """Return b + (a - b) (1 - x)^p."""
    x = min(max(n - transition_begin, 0), transition_steps) / transition_steps
    return end_value + (init_value - end_value) * math.pow(1 - x, power)


def cosine_decay_schedule(
    n: int, *, init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0
) -> float:
    """Return a ((1 - alpha) ((1 + cos(pi n / T)) / 2)^p + alpha), from step T on a alpha.

    Loshchilov and Hutter, "SGDR", ICLR 2017, arXiv:1608.03983, equation 5.
    """
    wave = (1 + math.cos(math.pi * min(n, decay_steps) / decay_steps)) / 2
    return init_value * ((1 - alpha) * math.pow(wave, exponent) + alpha)


def exponential_decay(
    n: int,
    *,
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> float:
    """Return a r^((n - n0) / T), the exponent rounded down for a staircase, but never beyond end_value."""
    past = max(n - transition_begin, 0)
    value = init_value * decay_rate ** (past // transition_steps if staircase else past / transition_steps)
    if end_value is None:
        return value
    return max(value, end_value) if decay_rate < 1 else min(value, end_value)


def inverse_time_decay(
    n: int,
    *,
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    power: float = 1.0,
) -> float:
    """Return a / (1 + r (n - n0) / T)^p, the quotient rounded down for a staircase."""
    past = max(n - transition_begin, 0)
    x = past // transition_steps if staircase else past / transition_steps
    return init_value / math.pow(1 + decay_rate * x, power)


def inverse_sqrt_schedule(n: int, *, init_value: float, transition_steps: int, transition_begin: int = 0) -> float:
    """Return a / sqrt(1 + (n - n0) / T)."""
    return init_value / math.sqrt(1 + max(n - transition_begin, 0) / transition_steps)


def piecewise_constant_schedule(n: int, *, init_value: float, boundaries_and_scales: Mapping[int, float]) -> float:
    """Return a, multiplied by the factor of each boundary that n has reached."""
    return init_value * math.prod(scale for boundary, scale in boundaries_and_scales.items() if n >= boundary)


def piecewise_interpolate_schedule(
    n: int, *, interpolate_type: str, init_value: float, boundaries_and_scales: Mapping[int, float]
) -> float:
    """Go from value to value in straight lines, or along halves of a cosine wave."""
    start, value = 0, init_value
    for end, scale in sorted(boundaries_and_scales.items()):
        if n < end:
            x = (n - start) / (end - start)
            share = x if interpolate_type == "linear" else (1 - math.cos(math.pi * x)) / 2
            return value + (value * scale - value) * share
        start, value = end, value * scale
    return value
