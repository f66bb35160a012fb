"""One cycle: up to a peak, and down to next to nothing."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.schedules.piecewise import piecewise_interpolate_schedule
from uniopt.typing import Scalar, Schedule


def linear_onecycle_schedule(
    transition_steps: float,
    peak_value: Scalar,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Return the schedule that goes up, down to where it came from, and on down, in straight lines.

    Parameters
    ----------
    transition_steps
        Number of steps of the three parts together, above 0.
    peak_value
        The value after the first part.
    pct_start
        The share of the steps after which the peak is reached.
    pct_final
        The share of the steps after which the first value is reached again.
    div_factor
        The peak, divided by the first value.
    final_div_factor
        The first value, divided by the last one.

    Raises
    ------
    HyperparameterError
        If a number of steps or a factor is not above 0, or the shares are not in ascending order between 0 and 1.

    Notes
    -----
    The parts end at whole steps, rounded down. Where two of them end at the same step, optax leaves one out; here the
    last value is always ``peak_value / div_factor / final_div_factor``.

    References
    ----------
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2017,
    arXiv:1708.07120.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.linear_onecycle_schedule(100, 1.0, div_factor=4.0, final_div_factor=16.0)
    >>> [schedule(n) for n in (0, 15, 30, 85, 100)]
    [0.25, 0.625, 1.0, 0.25, 0.015625]
    """
    steps, peak, up, last = _checked(transition_steps, peak_value, div_factor, final_div_factor)
    if not 0.0 <= pct_start <= pct_final <= 1.0:
        raise HyperparameterError(
            f"pct_start is {pct_start!r} and pct_final {pct_final!r}, expected 0 <= pct_start <= pct_final <= 1."
        )
    parts = _merged((int(pct_start * steps), up), (int(pct_final * steps), 1.0 / up), (steps, 1.0 / last))
    return piecewise_interpolate_schedule("linear", peak / up, parts)


def cosine_onecycle_schedule(
    transition_steps: float,
    peak_value: Scalar,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Return the schedule that goes up to a peak and down to next to nothing, along halves of a cosine wave.

    Parameters
    ----------
    transition_steps
        Number of steps of the two parts together, above 0.
    peak_value
        The value after the first part.
    pct_start
        The share of the steps after which the peak is reached.
    div_factor
        The peak, divided by the first value.
    final_div_factor
        The first value, divided by the last one.

    Raises
    ------
    HyperparameterError
        If a number of steps or a factor is not above 0, or `pct_start` not between 0 and 1.

    Notes
    -----
    The parts end at whole steps, rounded down. torch's ``OneCycleLR``, which ends them elsewhere, is a
    `piecewise_interpolate_schedule`.

    References
    ----------
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2017,
    arXiv:1708.07120.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.cosine_onecycle_schedule(100, 1.0, div_factor=4.0, final_div_factor=16.0)
    >>> [round(schedule(n), 6) for n in (0, 15, 30, 65, 100)]
    [0.25, 0.625, 1.0, 0.507812, 0.015625]
    """
    steps, peak, up, last = _checked(transition_steps, peak_value, div_factor, final_div_factor)
    if not 0.0 <= pct_start <= 1.0:
        raise HyperparameterError(f"pct_start is {pct_start!r}, expected a number between 0 and 1.")
    parts = _merged((int(pct_start * steps), up), (int(steps), 1.0 / (up * last)))
    return piecewise_interpolate_schedule("cosine", peak / up, parts)


def _checked(
    transition_steps: float, peak_value: Scalar, div_factor: float, final_div_factor: float
) -> tuple[float, Scalar, Scalar, Scalar]:
    return (
        hyperparameters.positive_steps("transition_steps", transition_steps),
        hyperparameters.number("peak_value", peak_value),
        hyperparameters.positive("div_factor", div_factor),
        hyperparameters.positive("final_div_factor", final_div_factor),
    )


def _merged(*parts: tuple[float, Scalar]) -> dict[float, Scalar]:
    """Return the factors by boundary, those of one boundary multiplied."""
    scales: dict[float, Scalar] = {}
    for boundary, scale in parts:
        scales[boundary] = scales.get(boundary, 1.0) * scale
    return scales
