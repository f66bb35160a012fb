"""The step count of one stage, and the scalars that follow from it: computed once per step, brought to each place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uniopt import numerics
from uniopt.backends import registry
from uniopt.backends.protocol import Backend
from uniopt.errors import MixedLibrariesError, ScheduleError, ShapeError
from uniopt.place import Place
from uniopt.step import Step
from uniopt.typing import Array, Integer, Scalar, Schedule


class Clock:
    """The counter in a stage's state, and what has been computed from it in this step.

    Attributes
    ----------
    count
        The number of steps taken before this one, as in the state: a 0-d int32 array, or None without a counter.
    """

    __slots__ = ("_known", "_scheduled", "backend", "count", "xp")

    def __init__(self, step: Step, count: Array | None) -> None:
        # A tree without arrays has no library of its own; then the counter's decides.
        self.backend = step.backend if count is None else registry.backend_of(count)
        self.xp = self.backend.xp
        self.count = count
        self._known: dict[tuple[Any, int], list[tuple[tuple[Any, ...], Any]]] = {}
        self._scheduled: dict[int, Any] = {}

    def next(self) -> Array:
        """Return the count after this step; it saturates."""
        count = numerics.increment(self.xp, self.count)
        return self.backend.astype(count, self.xp.int32)

    def once(self, f: Callable[..., Scalar], *args: Any) -> Scalar:
        """Return ``f(xp, t, *args)`` for this step ``t``, counted from 1, a float64 array where there is float64."""
        computed = self._known.setdefault((f, len(args)), [])
        for known, value in computed:  # not by id, which torch.compile would take for a constant
            if all(x is y for x, y in zip(known, args, strict=True)):
                return value
        near = [x if isinstance(x, float | int | bool) else self.backend.place(x, self.count) for x in args]
        value = self.backend.at_step(f, self.count, *near)
        computed.append((args, value))
        return value

    def integer(self, name: str, value: Integer) -> Integer:
        """Return an integer hyperparameter as the counter meets it: an array as one of int32 on its device."""
        if isinstance(value, int):
            return value
        _check_library(name, registry.backend_of(value), self.backend)
        return self.backend.place(self.backend.astype(value, self.xp.int32), self.count)

    def scheduled(self, name: str, schedule: Schedule) -> Scalar:
        """Return the value of a schedule, which counts from 0."""
        key = id(schedule)
        if key not in self._scheduled:
            value = schedule(self.count)
            shape = () if isinstance(value, int | float) else getattr(value, "shape", None)
            if shape is None or tuple(shape) != ():
                found = f"an array of shape {tuple(shape)}" if shape is not None else f"{value!r}"
                raise ScheduleError(
                    f"The schedule given as {name} returned {found}, expected one number or a 0-d array. "
                    "Return a scalar for a scalar step count."
                )
            self._scheduled[key] = value
        return self._scheduled[key]


class Time:
    """The step count, as a rule sees it for one leaf: every scalar is on the leaf's device, in its compute dtype."""

    __slots__ = ("_clock", "_corrections", "_place")

    def __init__(self, clock: Clock, place: Place) -> None:
        self._clock = clock
        self._place = place
        self._corrections: dict[tuple[float, int], Scalar] = {}

    def bias_correction(self, decay: Scalar, ahead: int = 0) -> Scalar:
        r"""Return :math:`1 - \beta^{t + \mathrm{ahead}}` for this step ``t``, counted from 1."""
        if not isinstance(decay, float):
            return self.once(numerics.bias_correction, decay, ahead)
        known = self._corrections.get((decay, ahead))
        if known is None:
            known = self._corrections[decay, ahead] = self.once(numerics.bias_correction, decay, ahead)
        return known

    def is_first(self) -> Array:
        """Return whether this is the first step, a 0-d boolean array."""
        return self.once(_is_first)

    def once(self, f: Callable[..., Scalar], *args: Any) -> Scalar:
        """Return ``f(xp, t, *args)``, computed once per step for all leaves.

        `t` is a 0-d floating-point array that counts from 1. `f` must be the same function object from leaf to leaf:
        a function of a module, not one made in the rule.
        """
        return self._place.bring(self._clock.once(f, *args))

    def value(self, name: str, x: Any) -> Any:
        """Return a hyperparameter's value at this step: schedules evaluated, 0-d arrays brought to the leaf."""
        if callable(x):
            x = self._clock.scheduled(name, x)
        if not hasattr(x, "dtype"):
            return x
        found = registry.find(type(x))
        if found is None:
            return x
        if found.name == "numpy" and self._place.backend.name != "numpy":
            return float(x)
        _check_library(name, found, self._place.backend)
        return self._place.bring(x)

    def observed(self, name: str, x: Any) -> Any:
        """Return the value of an extra argument that is one number, such as the objective."""
        value = self.value(name, x)
        if getattr(value, "shape", ()) != ():
            raise ShapeError(f"{name} has shape {tuple(value.shape)}, expected one number or a 0-d array.")
        return value


def _check_library(name: str, found: Backend, own: Backend) -> None:
    if not own.accepts(found):
        raise MixedLibrariesError(
            f"{name} is an array of {found.name}, the parameters are of {own.name}. "
            f"Pass {name} as a Python number or as a 0-d array of {own.name}."
        )


def _is_first(xp: Any, t: Array) -> Array:
    return t == 1
