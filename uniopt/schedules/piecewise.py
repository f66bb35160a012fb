"""Values at given steps, with jumps or curves between them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.schedules.cosine import half_wave
from uniopt.schedules.polynomial import constant_schedule
from uniopt.schedules.time import of_time, since
from uniopt.transformation import Bound
from uniopt.typing import Scalar, Schedule


def piecewise_constant_schedule(
    init_value: Scalar, boundaries_and_scales: Mapping[float, Scalar] | None = None
) -> Schedule:
    """Return the schedule that is multiplied by a factor at each of some steps.

    Parameters
    ----------
    init_value
        The first value.
    boundaries_and_scales
        The factors, not below 0, by the step counts from which on they hold.

    Raises
    ------
    HyperparameterError
        If a step count or a factor is below 0.

    Notes
    -----
    It is torch's ``MultiStepLR`` where all factors are the same.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.1})
    >>> [schedule(n) for n in (9, 10, 20)]
    [1.0, 0.5, 0.05]
    """
    scales = _checked(boundaries_and_scales)
    if not scales:
        return constant_schedule(init_value)
    return Bound(
        _piecewise_constant_schedule,
        init_value=hyperparameters.number("init_value", init_value),
        boundaries_and_scales=scales,
    )


def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Scalar, boundaries_and_scales: Mapping[float, Scalar] | None = None
) -> Schedule:
    r"""Return the schedule that goes from value to value, along lines or halves of a cosine wave.

    Parameters
    ----------
    interpolate_type
        ``"linear"`` or ``"cosine"``.
    init_value
        The first value.
    boundaries_and_scales
        What each value is multiplied by to make the next one, by the step counts at which that one is reached.

    Raises
    ------
    HyperparameterError
        If `interpolate_type` is no such name, or a step count or a factor is below 0.

    Notes
    -----
    It is torch's ``OneCycleLR`` with the boundaries of that, which need not be whole numbers.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.piecewise_interpolate_schedule("linear", 1.0, {10: 3.0, 20: 0.5})
    >>> [schedule(n) for n in (0, 5, 10, 15, 20, 30)]
    [1.0, 2.0, 3.0, 2.25, 1.5, 1.5]
    """
    kind = hyperparameters.one_of("interpolate_type", interpolate_type, ("linear", "cosine"))
    scales = _checked(boundaries_and_scales)
    if not scales:
        return constant_schedule(init_value)
    return Bound(
        _piecewise_interpolate_schedule,
        interpolate_type=kind,
        init_value=hyperparameters.number("init_value", init_value),
        boundaries_and_scales=scales,
    )


def _checked(boundaries_and_scales: Mapping[float, Scalar] | None) -> dict[float, Scalar]:
    """Return the factors by boundary, in the order of the boundaries."""
    name = "boundaries_and_scales"
    if boundaries_and_scales is None:
        return {}
    scales = {}
    for boundary, scale in hyperparameters.mapping(name, boundaries_and_scales, "step counts and factors").items():
        n = hyperparameters.steps(f"a boundary in {name}", boundary)
        if n < 0:
            raise HyperparameterError(f"{name} has the boundary {boundary!r}, expected a step count not below 0.")
        scales[n] = hyperparameters.nonnegative(f"{name}[{boundary!r}]", scale)
    return dict(sorted(scales.items()))


@of_time
def _piecewise_constant_schedule(
    xp: Any, n: Scalar, *, init_value: Scalar, boundaries_and_scales: dict[float, Scalar]
) -> Scalar:
    value = init_value + 0.0 * n
    for boundary, scale in boundaries_and_scales.items():
        value = xp.where(n < float(boundary), value, value * scale)
    return value


@of_time
def _piecewise_interpolate_schedule(
    xp: Any, n: Scalar, *, interpolate_type: str, init_value: Scalar, boundaries_and_scales: dict[float, Scalar]
) -> Scalar:
    boundaries = [0.0, *map(float, boundaries_and_scales)]
    value, start = init_value + 0.0 * n, init_value
    for (begin, end), scale in zip(itertools.pairwise(boundaries), boundaries_and_scales.values(), strict=True):
        stop = start * scale
        if end > begin:
            done = xp.minimum(since(xp, n, begin) / (end - begin), 1.0)
            if interpolate_type == "cosine":
                between = stop + (start - stop) * half_wave(xp, done)
            else:
                between = (stop - start) * done + start
            value = xp.where(n < begin, value, between)
        start = stop
    return xp.where(n < boundaries[-1], value, start)
