"""Schedules with a state of their own, for `inject_hyperparams`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from uniopt.backends import registry
from uniopt.numerics import increment
from uniopt.schedules.time import PythonMath
from uniopt.typing import Array, Scalar, Schedule, Tree


@runtime_checkable
class StatefulSchedule(Protocol):
    """A number that follows from a state, which follows from the steps and what ``update`` was told in them."""

    def init(self) -> Tree:
        """Return the state before the first step, a tree of Python numbers or arrays.

        Numbers become 0-d arrays of the parameters' library.
        """
        ...

    def update(self, state: Tree, **extra_args: Any) -> Tree:
        """Return the next state; the extra arguments are those of the transformation's ``update``."""
        ...

    def __call__(self, state: Tree, **extra_args: Any) -> Scalar:
        """Return the value in this step."""
        ...


class WrappedScheduleState(NamedTuple):
    """The step count of a schedule."""

    count: Array  # int32, shape ()


@dataclass(frozen=True)
class WrappedSchedule:
    """A schedule of the step count as a `StatefulSchedule`.

    Parameters
    ----------
    schedule_fn
        The schedule.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.WrappedSchedule(uniopt.linear_schedule(1.0, 0.0, 4))
    >>> state = schedule.update(schedule.init())
    >>> state, schedule(state)
    (WrappedScheduleState(count=1), 0.75)
    """

    schedule_fn: Schedule

    def init(self) -> WrappedScheduleState:
        """Return the state that counts 0."""
        return WrappedScheduleState(count=0)

    def update(self, state: WrappedScheduleState, **extra_args: Any) -> WrappedScheduleState:
        """Return the state that counts one step more."""
        if isinstance(state.count, int):
            return WrappedScheduleState(increment(PythonMath, state.count))
        backend = registry.backend_of(state.count)
        return WrappedScheduleState(backend.astype(increment(backend.xp, state.count), backend.xp.int32))

    def __call__(self, state: WrappedScheduleState, **extra_args: Any) -> Scalar:
        """Return the schedule's value."""
        return self.schedule_fn(state.count)
