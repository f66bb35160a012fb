"""What a run of the demonstration is asked to do, checked before anything starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniopt import optimizers
from uniopt.cli.errors import CommandError
from uniopt.cli.expressions import evaluate
from uniopt.errors import UnioptError
from uniopt.transformation import GradientTransformation

DTYPES = ("float32", "float64", "float16", "bfloat16")
_LEARNING_RATE = 0.01  # suits rules that normalise the gradient; the plain gradient wants larger steps
_LEARNING_RATES = {"sgd": 0.5, "noisy_sgd": 0.5}


@dataclass(frozen=True)
class Settings:
    """One run: the optimizer, where it runs and how long."""

    optimizer: str
    hyperparameters: dict[str, Any]
    backends: tuple[str, ...]  # asked for by name; empty for all that are here
    device: str | None
    dtype: str
    epochs: int
    seed: int
    out: Path

    def transformation(self) -> GradientTransformation:
        """Return the optimizer, newly made."""
        return build(self.optimizer, self.hyperparameters)


def known_optimizers() -> dict[str, Callable[..., GradientTransformation]]:
    """Return every optimizer that uniopt exports, by name."""
    return {name: f for name, f in vars(optimizers).items() if inspect.isfunction(f)}


def build(name: str, hyperparameters: dict[str, Any]) -> GradientTransformation:
    """Return the optimizer of that name with those hyperparameters."""
    try:
        return known_optimizers()[name](**hyperparameters)
    except (UnioptError, TypeError) as error:
        raise CommandError(f"{name} does not accept these hyperparameters: {error}") from error


def read_optimizer(name: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the hyperparameters that ``--optimizer`` and the ``--set key=value`` ask for, a learning rate included."""
    known = known_optimizers()
    if name not in known:
        raise CommandError(f"no optimizer is called {name!r}. Known: {', '.join(sorted(known))}")
    parameters = inspect.signature(known[name]).parameters
    chosen: dict[str, Any] = {}
    rate = parameters.get("learning_rate")
    if rate is not None and rate.default is rate.empty:
        chosen["learning_rate"] = _LEARNING_RATES.get(name, _LEARNING_RATE)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise CommandError(f"--set {assignment}: expected key=value, such as --set learning_rate=0.003")
        if key not in parameters:
            raise CommandError(f"--set {assignment}: {name} has no parameter {key!r}. It has: {', '.join(parameters)}")
        chosen[key] = _read_value(assignment, text)
    missing = [key for key, p in parameters.items() if p.default is p.empty and key not in chosen]
    if missing:
        raise CommandError(f"{name} needs a value for {', '.join(missing)}: add --set {missing[0]}=...")
    build(name, chosen)
    return chosen


def _read_value(assignment: str, text: str) -> Any:
    """Return a Python literal, or the schedule that a call such as ``linear_schedule(0.1, 0.0, 100)`` makes."""
    try:
        return evaluate(text)
    except CommandError as error:
        raise CommandError(f"--set {assignment}: {error}") from error
