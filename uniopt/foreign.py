"""Transformations that others wrote as plain functions of trees, such as those of optax."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uniopt import tree
from uniopt.step import Step
from uniopt.transformation import Stage


@dataclass(frozen=True, eq=False, repr=False)
class Foreign(Stage):
    """A pair of functions of trees as a stage; they see the trees in the dtypes that the user passed in."""

    init_fn: Callable[..., Any]
    update_fn: Callable[..., Any]

    def __repr__(self) -> str:
        return f"GradientTransformation(init={self.init_fn!r}, update={self.update_fn!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return self.init_fn(step.rebuild(step.narrow(params)))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        values = None if params is None else step.rebuild(step.narrow(params))
        given = step.rebuild(step.finish(updates))
        results, state = self.update_fn(given, state, values, **_accepted(self.update_fn, extra))
        return step.widen(tree.align(step.structure, results, given, names=("updates", "results"))), state


def _accepted(f: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Return the extra arguments that a function takes: all of them, or those that it names."""
    parameters = inspect.signature(f).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return extra
    return {name: x for name, x in extra.items() if name in parameters}
