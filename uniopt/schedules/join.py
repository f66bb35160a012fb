"""Schedules one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.schedules.time import as_time
from uniopt.transformation import Bound
from uniopt.typing import Scalar, Schedule


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[float]) -> Schedule:
    """Return the schedule that follows several others one after another.

    Parameters
    ----------
    schedules
        The schedules; each counts its own steps from 0.
    boundaries
        The step counts at which the second, third, ... take over, in ascending order; one fewer than schedules.

    Raises
    ------
    HyperparameterError
        If the numbers of schedules and boundaries do not fit, one of the schedules is no function, or the boundaries do
        not ascend.

    Notes
    -----
    A schedule whose turn has not come is asked for its value at 0, not at a negative count as in optax, where a
    function such as ``lambda n: 1 / n**0.5`` may have no value.

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
    for i, schedule in enumerate(schedules):
        if not callable(schedule):
            raise HyperparameterError(
                f"schedules[{i}] is {schedule!r}, expected a schedule. "
                "A number becomes one with uniopt.constant_schedule."
            )
    # One that an int32, as which counts come, cannot be compared with is compared as a floating-point number.
    limits = [hyperparameters.steps(f"boundaries[{i}]", n) for i, n in enumerate(boundaries)]
    limits = [n if n < 2**31 else float(n) for n in limits]
    if limits != sorted(limits):
        raise HyperparameterError(f"boundaries is {limits}, expected numbers of steps in ascending order.")
    return Bound(_join_schedules, schedules=tuple(schedules), boundaries=tuple(limits))


def _join_schedules(count: Scalar, /, *, schedules: Sequence[Schedule], boundaries: Sequence[float]) -> Scalar:
    xp, n = as_time(count)
    values: list[Any] = [schedules[0](count) + 0.0 * n]  # an array, if the schedule returned a number
    for boundary, schedule in zip(boundaries, schedules[1:], strict=True):
        now = count if isinstance(boundary, int) else n
        values.append(schedule(xp.maximum(now, boundary) - boundary))
    xp, n = as_time(count, *values)
    value = values[0]
    for boundary, following in zip(boundaries, values[1:], strict=True):
        value = xp.where((count if isinstance(boundary, int) else n) < boundary, value, following)
    return value
