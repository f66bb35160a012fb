"""The numbers of a transformation: reading them, and putting others in their places."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from uniopt.errors import HyperparameterError
from uniopt.hyperparameters import PerLeaf
from uniopt.leafwise import Leafwise
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, stage_of

Replace = Callable[[str, str, Any], Any]
"""``replace(stage, name, value)`` returns what is to be in the place of a stage's hyperparameter, or that itself."""


def numbers(stage: Stage) -> Iterator[tuple[str, str, Any]]:
    """Yield the stage's name, the name and the value of each hyperparameter that is a number, an array or a schedule.

    Those of inner stages are among them. Integers are not: they are numbers of steps, axes, seeds.
    """
    found: list[tuple[str, str, Any]] = []

    def note(owner: str, name: str, value: Any) -> Any:
        found.append((owner, name, value))
        return value

    adjusted(stage, note)
    yield from found


def adjusted(stage: Stage, replace: Replace) -> Stage:
    """Return the stage with other numbers, arrays or schedules in the places of its own.

    Raises
    ------
    HyperparameterError
        If a number of a stage that has one for all leaves is to differ from leaf to leaf.
    """
    if isinstance(stage, Leafwise):
        hyper = {name: _replaced(replace, stage.name, name, x) for name, x in stage.hyper.items()}
        return dataclasses.replace(stage, hyper=hyper)
    owner = getattr(stage, "name", type(stage).__name__)
    changes = {
        field.name: _within(replace, owner, field.name, getattr(stage, field.name))
        for field in dataclasses.fields(stage)  # type: ignore[arg-type]  # every stage is a dataclass
        if field.init
    }
    return dataclasses.replace(stage, **changes)  # type: ignore[type-var]  # as above


def _within(replace: Replace, owner: str, name: str, value: Any) -> Any:
    """Return a field of a stage, with inner stages adjusted."""
    if isinstance(value, Stage):
        return adjusted(value, replace)
    if isinstance(value, tuple) and _has_stages(value):
        return tuple(_within(replace, owner, name, x) for x in value)
    if isinstance(value, dict):
        if name == "hyper":
            return {key: _one(replace, owner, key, x) for key, x in value.items()}
        return {key: _within(replace, owner, name, x) if _has_stages(x) else x for key, x in value.items()}
    return _one(replace, owner, name, value)


def _one(replace: Replace, owner: str, name: str, value: Any) -> Any:
    """Return a hyperparameter of a stage that has one for all leaves."""
    result = _replaced(replace, owner, name, value)
    if isinstance(result, PerLeaf) and result is not value:
        raise HyperparameterError(
            f"{name} of {owner} is one number for all parameters, but was given one for each. "
            "Put them into one group, or give each its own transformation by uniopt.partition."
        )
    return result


def _has_stages(x: Any) -> bool:
    return isinstance(x, Stage) or (isinstance(x, tuple) and any(map(_has_stages, x)))


def _replaced(replace: Replace, owner: str, name: str, value: Any) -> Any:
    is_schedule = name == "learning_rate" and callable(value)
    is_number = isinstance(value, float) or getattr(value, "shape", None) == ()
    return replace(owner, name, value) if is_schedule or is_number else value


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MadeAtUpdate(Stage):
    """A transformation that is made of the extra argument `hyperparams` at each update.

    Recorded by a compiled step, it is made once; other values of the same arrays are read without recording it again.
    """

    make: Callable[[Any], GradientTransformation]

    def __repr__(self) -> str:
        return f"MadeAtUpdate({self.make!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        raise HyperparameterError("The hyperparameters are known at update alone; call init of what it makes.")

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        stage = stage_of(self.make(extra["hyperparams"]))
        return stage.update(step, updates, state, params, extra)
