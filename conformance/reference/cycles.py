"""Schedules with a rise, or that begin again, as functions of the step count n = 0, 1, 2, ...

Names and parameters are the library's, which are optax's where optax has the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from uniopt.conformance.reference.decays import (
    cosine_decay_schedule,
    exponential_decay,
    inverse_sqrt_schedule,
    piecewise_interpolate_schedule,
)


def join_schedules(n: int, *, schedules: Sequence[Callable[[int], float]], boundaries: Sequence[int]) -> float:
    """Follow one schedule after another, each with a count of its own."""
    begins = [0, *boundaries]
    current = max(i for i, begin in enumerate(begins) if n >= begin)
    return schedules[current](n - begins[current])


def warmup_constant_schedule(n: int, *, init_value: float, peak_value: float, warmup_steps: int) -> float:
    """Rise in a straight line, and stay."""
    return init_value + (peak_value - init_value) * min(n, warmup_steps) / warmup_steps


def warmup_cosine_decay_schedule(
    n: int,
    *,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> float:
    """Rise, and fall along half a cosine wave until decay_steps after the beginning."""
    if n < warmup_steps:
        return _risen(n, init_value, peak_value, warmup_steps)
    wave = cosine_decay_schedule(n - warmup_steps, init_value=1.0, decay_steps=decay_steps - warmup_steps)
    return end_value + (peak_value - end_value) * math.pow(wave, exponent)


def warmup_exponential_decay_schedule(
    n: int, *, init_value: float, peak_value: float, warmup_steps: int, **of_decay: Any
) -> float:
    """Rise, and decay exponentially from there."""
    if n < warmup_steps:
        return _risen(n, init_value, peak_value, warmup_steps)
    return exponential_decay(n - warmup_steps, init_value=peak_value, **of_decay)


def warmup_inverse_sqrt_schedule(
    n: int, *, init_value: float, peak_value: float, warmup_steps: int, transition_steps: int | None = None
) -> float:
    """Rise, and decay with the square root of the time.

    Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv:1706.03762, equation 3.
    """
    if n < warmup_steps:
        return _risen(n, init_value, peak_value, warmup_steps)
    steps = warmup_steps if transition_steps is None else transition_steps
    return inverse_sqrt_schedule(n - warmup_steps, init_value=peak_value, transition_steps=steps)


def warmup_stable_decay_schedule(
    n: int,
    *,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    stable_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    decay_type: str = "linear",
) -> float:
    """Rise, stay, and fall: by a share x, half a wave, or sqrt(x).

    Haegele et al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024,
    arXiv:2405.18392, section 3.
    """
    if n < warmup_steps:
        return _risen(n, init_value, peak_value, warmup_steps)
    x = min(max(n - warmup_steps - stable_steps, 0) / decay_steps, 1.0)
    left = {"linear": 1 - x, "cosine": (1 + math.cos(math.pi * x)) / 2, "1-sqrt": 1 - math.sqrt(x)}[decay_type]
    return end_value + (peak_value - end_value) * left


def sgdr_schedule(n: int, *, cosine_kwargs: Sequence[Mapping[str, Any]]) -> float:
    """Follow one warmup_cosine_decay_schedule after another, each for its decay_steps."""
    *before, last = cosine_kwargs
    for cycle in before:
        if n < cycle["decay_steps"]:
            return warmup_cosine_decay_schedule(n, **cycle)
        n -= cycle["decay_steps"]
    return warmup_cosine_decay_schedule(n, **last)


def cosine_annealing_schedule(n: int, *, init_value: float, transition_steps: int, end_value: float = 0.0) -> float:
    """Return b + (a - b) (1 + cos(pi n / T)) / 2, which rises again: torch's CosineAnnealingLR in closed form."""
    return end_value + (init_value - end_value) * (1 + math.cos(math.pi * n / transition_steps)) / 2


def cosine_restarts_schedule(
    n: int, *, init_value: float, first_decay_steps: int, t_mul: float = 1.0, m_mul: float = 1.0, alpha: float = 0.0
) -> float:
    """Fall along half a cosine wave again and again, from m_mul times the height, in t_mul times the steps.

    Loshchilov and Hutter, "SGDR", ICLR 2017, arXiv:1608.03983, section 3; m_mul and alpha are those of keras'
    CosineDecayRestarts.
    """
    begin, length, height = 0.0, float(first_decay_steps), 1.0
    while n >= begin + length:
        begin, length, height = begin + length, length * t_mul, height * m_mul
    wave = height * (1 + math.cos(math.pi * (n - begin) / length)) / 2
    return init_value * ((1 - alpha) * wave + alpha)


def polynomial_restarts_schedule(
    n: int, *, init_value: float, end_value: float, power: float, transition_steps: int
) -> float:
    """Return b + (a - b) (1 - n / (k T))^p, with k T the next multiple of T or n: keras with cycle=True."""
    k = max(1, math.ceil(n / transition_steps))
    return end_value + (init_value - end_value) * math.pow(1 - n / (k * transition_steps), power)


def cyclic_schedule(
    n: int,
    *,
    init_value: float,
    peak_value: float,
    rise_steps: int,
    fall_steps: int | None = None,
    decay_per_cycle: float = 1.0,
    decay_per_step: float = 1.0,
) -> float:
    """Go up and down in straight lines; the height decays by the cycle, and by the step.

    Smith, "Cyclical learning rates for training neural networks", WACV 2017, arXiv:1506.01186; torch's CyclicLR.
    """
    fall = rise_steps if fall_steps is None else fall_steps
    cycle, m = divmod(n, rise_steps + fall)
    height = m / rise_steps if m < rise_steps else (rise_steps + fall - m) / fall
    return init_value + (peak_value - init_value) * height * decay_per_cycle**cycle * decay_per_step**n


def linear_onecycle_schedule(
    n: int,
    *,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    """Rise to the peak, fall to the first value, fall on; the parts end at whole steps.

    Smith and Topin, "Super-convergence", 2017, arXiv:1708.07120.
    """
    scales = {
        int(pct_start * transition_steps): div_factor,
        int(pct_final * transition_steps): 1 / div_factor,
        transition_steps: 1 / final_div_factor,
    }
    first = peak_value / div_factor
    return piecewise_interpolate_schedule(n, interpolate_type="linear", init_value=first, boundaries_and_scales=scales)


def cosine_onecycle_schedule(
    n: int,
    *,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    """Rise to the peak and fall to next to nothing, along halves of a cosine wave.

    Smith and Topin 2017, as above.
    """
    scales = {
        int(pct_start * transition_steps): div_factor,
        transition_steps: 1 / (div_factor * final_div_factor),
    }
    first = peak_value / div_factor
    return piecewise_interpolate_schedule(n, interpolate_type="cosine", init_value=first, boundaries_and_scales=scales)


def _risen(n: int, init_value: float, peak_value: float, warmup_steps: int) -> float:
    return init_value + (peak_value - init_value) * n / warmup_steps
