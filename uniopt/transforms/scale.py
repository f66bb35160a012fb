"""Multiplying by a number, a learning rate, or a schedule."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.transformation import GradientTransformation
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Schedule


class EmptyState(NamedTuple):
    """The state of a transformation that remembers nothing."""


class ScaleByScheduleState(NamedTuple):
    """The state of a transformation that follows a schedule."""

    count: Array  # int32, shape ()


def identity() -> GradientTransformation:
    """Return the gradients unchanged."""
    return leafwise(EmptyState, None, _identity)


def set_to_zero() -> GradientTransformation:
    """Return zeros: the parameters stay as they are, whatever the gradients, NaN included."""
    return leafwise(EmptyState, None, _set_to_zero)


def scale(step_size: Scalar) -> GradientTransformation:
    r"""Multiply by a constant: :math:`u = \alpha g`.

    Parameters
    ----------
    step_size
        The factor, a number or a 0-d array.
    """
    return leafwise(EmptyState, None, _scale, step_size=hyperparameters.number("step_size", step_size))


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    r"""Multiply by a schedule of the step count: :math:`u_t = \alpha(t - 1)\, g_t`.

    Parameters
    ----------
    step_size_fn
        Maps the number of steps taken so far (0 at the first update), a 0-d int32 array, to the factor.

    Raises
    ------
    ScheduleError
        At the first update, if the schedule does not return one number.
    """
    return leafwise(ScaleByScheduleState, None, _scale_by_schedule, step_size_fn=step_size_fn)


def scale_by_learning_rate(learning_rate: ScalarOrSchedule, *, flip_sign: bool = True) -> GradientTransformation:
    r"""Multiply by the negative learning rate: :math:`u = -\eta g`, so that the result can be added.

    Parameters
    ----------
    learning_rate
        A number, a 0-d array, or a schedule of the step count (which starts at 0).
    flip_sign
        Whether to negate.
    """
    rate = hyperparameters.learning_rate(learning_rate)
    state = ScaleByScheduleState if callable(rate) else EmptyState
    return leafwise(state, None, _scale_by_learning_rate, learning_rate=rate, flip_sign=flip_sign)


def _identity(xp: Any, g: Array, s: Any) -> Any:
    return g, s


def _set_to_zero(xp: Any, g: Array, s: Any) -> Any:
    return xp.zeros_like(g), s


def _scale(xp: Any, g: Array, s: Any, *, step_size: Scalar) -> Any:
    return step_size * g, s


def _scale_by_schedule(xp: Any, g: Array, s: Any, *, step_size_fn: Scalar) -> Any:
    return step_size_fn * g, s


def _scale_by_learning_rate(xp: Any, g: Array, s: Any, *, learning_rate: Scalar, flip_sign: bool) -> Any:
    return (-learning_rate if flip_sign else learning_rate) * g, s
