"""Transformations that others wrote as plain functions of trees, such as those of optax."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uniopt import tree
from uniopt.step import Step
from uniopt.transformation import Bound, Stage
from uniopt.typing import Tree


@dataclass(frozen=True, eq=False, repr=False)
class Foreign(Stage):
    """A pair of functions of trees as a stage; they see the trees in the dtypes that the user passed in."""

    init_fn: Callable[..., Any]
    update_fn: Callable[..., Any]

    def __repr__(self) -> str:
        if isinstance(self.update_fn, Bound):
            return repr(self.update_fn)
        return f"GradientTransformation(init={self.init_fn!r}, update={self.update_fn!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return _arrays(step, self.init_fn(step.rebuild(step.narrow(params))))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        values = None if params is None else step.rebuild(step.narrow(params))
        given = step.rebuild(step.finish(updates))
        results, state = call_update(self.update_fn, given, state, values, extra)
        leaves = tree.align(step.structure, results, given, names=("updates", "results"))
        return step.widen(leaves), _arrays(step, state)


def _arrays(step: Step, state: Any) -> Any:
    """Return a state with arrays for its Python numbers, which a conditional could not tell apart."""

    def array(x: Any) -> Any:
        if isinstance(x, bool | int | float | complex) and not hasattr(x, "dtype"):
            return step.backend.asarray(x, dtype=step.backend.asarray(x).dtype)  # not JAX's weak type
        return x

    return tree.map(array, state)


def call_update(f: Callable[..., Any], updates: Tree, state: Any, params: Tree, extra: dict[str, Any]) -> Any:
    """Return what a plain update function returns, given those of the extra arguments that it takes."""
    return f(updates, state, params, **_accepted(f, extra))


def _accepted(f: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Return the extra arguments that a function takes: all of them, or those that it names."""
    parameters = inspect.signature(f).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return extra
    return {name: x for name, x in extra.items() if name in parameters}
