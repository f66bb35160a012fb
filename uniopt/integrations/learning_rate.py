"""The learning rate of a transformation that is built already: found, and kept in the state, where it can be set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from uniopt.errors import HyperparameterError
from uniopt.hyperparameters import nonnegative
from uniopt.schedules.stateful import WrappedSchedule
from uniopt.transformation import Bound, GradientTransformation, Stage, stage_of, transformation
from uniopt.transforms.inject import Injected, inject_hyperparams
from uniopt.typing import Scalar, ScalarOrSchedule

NAME = "learning_rate"
"""Of the hyperparameter, in all constructors and in the state."""


def in_state(tx: GradientTransformation) -> GradientTransformation:
    """Return the transformation with its learning rate in the state, as `inject_hyperparams` makes it.

    Where that is a schedule, or there are several, or none, the state has a step count more and no learning rate.
    """
    stage = stage_of(tx)
    if isinstance(stage, Injected):
        return tx
    rates = learning_rates(tx)
    if len(rates) != 1 or callable(rates[0]):
        return inject_hyperparams(Bound(_as_it_is, stage))()
    return inject_hyperparams(Bound(_at_rate, stage))(learning_rate=rates[0])


def learning_rate_of(tx: GradientTransformation) -> ScalarOrSchedule:
    """Return the learning rate of a transformation; HyperparameterError if it has none, or several."""
    rates = learning_rates(tx)
    if len(rates) != 1:
        raise HyperparameterError(
            f"The learning rates of {tx!r} are {', '.join(map(repr, rates)) or 'none'}; expected one. "
            "Let schedules change them, or build the optimizer again."
        )
    return rates[0]


def rate_to_set(tx: GradientTransformation, rate: Any) -> Scalar:
    """Return a number that the learning rate is to be from now on; HyperparameterError if it cannot be."""
    if callable(learning_rate_of(tx)):
        raise HyperparameterError(
            f"The learning rate of {tx!r} follows a schedule, expected a number where it is to be set. "
            "Build the optimizer with a number."
        )
    if callable(rate):
        raise HyperparameterError(
            f"learning_rate is set to {rate!r}, expected a number. "
            "Build the optimizer with a transformation that follows the schedule."
        )
    return nonnegative(NAME, rate)


def learning_rates(tx: GradientTransformation) -> list[ScalarOrSchedule]:
    """Return the different values that the hyperparameter `NAME` has in a transformation."""
    stage = stage_of(tx)
    if isinstance(stage, Injected):
        rate = stage.injected.get(NAME)
        return [] if rate is None else [rate.schedule_fn if isinstance(rate, WrappedSchedule) else rate]
    different: list[ScalarOrSchedule] = []

    def look(rate: ScalarOrSchedule) -> ScalarOrSchedule:
        if not any(rate is known or _equal(rate, known) for known in different):
            different.append(rate)
        return rate

    _replaced(stage, look)
    return different


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and isinstance(a, float | Bound) and bool(a == b)


def _as_it_is(stage: Stage, /) -> GradientTransformation:
    return transformation(stage)


def _at_rate(stage: Stage, /, learning_rate: ScalarOrSchedule) -> GradientTransformation:
    return transformation(_replaced(stage, lambda _: learning_rate))


def _replaced(x: Any, rate: Callable[[Any], Any], name: str = "") -> Any:
    """Return a part of a transformation, called `name`, with ``rate(value)`` for each learning rate in it.

    A schedule that is made of a learning rate, as some dialects have them, stays, with another one inside.
    """

    def each(parts: dict[str, Any]) -> dict[str, Any]:
        return {key: _replaced(part, rate, key) for key, part in parts.items()}

    match x:
        case Injected() | None:
            return x
        case Bound() if name != NAME or NAME in x.keywords:
            return Bound(x.func, *_replaced(x.args, rate), **each(x.keywords))
        case _ if name == NAME:
            return rate(x)
        case Stage() if dataclasses.is_dataclass(x):
            return dataclasses.replace(x, **each({f.name: getattr(x, f.name) for f in dataclasses.fields(x) if f.init}))
        case dict():
            return each(x)
        case list() | tuple():
            parts = [_replaced(part, rate) for part in x]
            return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
        case _:
            return x
