"""Learning rates as dialects change them: schedules made of a number, a 0-d array or another schedule."""

from __future__ import annotations

from uniopt.schedules import inverse_sqrt_schedule
from uniopt.schedules.time import as_time
from uniopt.transformation import Bound
from uniopt.typing import Integer, Scalar, ScalarOrSchedule, Schedule


def at_most_inverse_sqrt(learning_rate: ScalarOrSchedule) -> Schedule:
    r"""Return :math:`\min(\eta_t, 1 / \sqrt t)` for the step :math:`t`, counted from 1."""
    return Bound(_at_most_inverse_sqrt, learning_rate=learning_rate)


def in_proportion(slope: float) -> Schedule:
    """Return the schedule that grows by a slope with each step, the first one included."""
    return Bound(_in_proportion, slope=slope)


def times(learning_rate: ScalarOrSchedule, factor: Scalar) -> Schedule:
    """Return a multiple of a learning rate."""
    return Bound(_times, learning_rate=learning_rate, factor=factor)


def warmed_up(learning_rate: ScalarOrSchedule, warmup_steps: Integer) -> Schedule:
    r"""Return :math:`\eta_t \min(t / w, 1)` for the step :math:`t`, counted from 1; :math:`\eta_t` if `w` is 0."""
    return Bound(_warmed_up, learning_rate=learning_rate, warmup_steps=warmup_steps)


def of_last_mini_steps(schedule: Schedule, every: int) -> Schedule:
    """Return a schedule of mini-steps as one of updates, each of them in the last of `every` mini-steps."""
    return Bound(_of_last_mini_steps, schedule=schedule, every=every)


def _at_most_inverse_sqrt(count: Scalar, /, *, learning_rate: ScalarOrSchedule) -> Scalar:
    xp, n = as_time(count)
    return xp.minimum(_value(learning_rate, count) + 0.0 * n, inverse_sqrt_schedule(1.0, 1)(count))


def _in_proportion(count: Scalar, /, *, slope: float) -> Scalar:
    _, n = as_time(count)
    return slope * (n + 1.0)


def _times(count: Scalar, /, *, learning_rate: ScalarOrSchedule, factor: Scalar) -> Scalar:
    return _value(learning_rate, count) * factor


def _warmed_up(count: Scalar, /, *, learning_rate: ScalarOrSchedule, warmup_steps: Integer) -> Scalar:
    xp, n = as_time(count, warmup_steps)
    one = 0.0 * n + 1.0
    is_int = isinstance(warmup_steps, int)
    steps = warmup_steps if is_int else xp.maximum(xp.astype(warmup_steps, n.dtype), one)
    return _value(learning_rate, count) * xp.minimum((n + 1.0) / steps, one)


def _of_last_mini_steps(count: Scalar, /, *, schedule: Schedule, every: int) -> Scalar:
    return schedule(count * every + (every - 1))


def _value(learning_rate: ScalarOrSchedule, count: Scalar) -> Scalar:
    return learning_rate(count) if callable(learning_rate) else learning_rate
