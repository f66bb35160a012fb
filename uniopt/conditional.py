"""Updating on some steps only: one of two trees, by a condition that may have no value yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uniopt import tree
from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.errors import HyperparameterError, StateError
from uniopt.step import Step
from uniopt.transformation import Stage
from uniopt.typing import Array

Side = Callable[[Step], Any]


def cond(step: Step, predicate: Array | bool, on_true: Side, on_false: Side) -> Any:
    """Return ``on_true(step)`` or ``on_false(step)``, trees of the same structure, shapes and dtypes.

    Where the predicate has a value, the other function is not called. Under tracing, what it makes, NaN included, does
    not reach the result.

    Parameters
    ----------
    step
        The current step; each function is called with one like it, and must use that one.
    predicate
        A bool, or a 0-d boolean array.

    Raises
    ------
    StateError
        If both were called and returned trees that differ in structure, shapes or dtypes.
    """
    if isinstance(predicate, bool):
        return on_true(step) if predicate else on_false(step)
    returned: list[Any] = []

    def arrays_of(side: Side) -> list[Array]:
        found = side(step.aside())
        if returned:
            _check_alike(returned[0], found)
        returned.append(found)
        return [x for x in tree.flatten(found)[0] if _is_array(x)]

    chosen = iter(
        registry.backend_of(predicate).cond(predicate, lambda: arrays_of(on_true), lambda: arrays_of(on_false))
    )
    leaves, structure = tree.flatten(returned[0])
    return tree.unflatten(structure, [next(chosen) if _is_array(x) else x for x in leaves])


def update_if(
    step: Step,
    predicate: Array | bool,
    stage: Stage,
    updates: list[Any],
    state: Any,
    params: list[Any] | None,
    extra: dict[str, Any],
    *,
    otherwise: list[Any],
) -> tuple[list[Any], Any]:
    """Return the updates and the next state of a stage, or `otherwise` and the state as it is."""

    def updated(step: Step) -> tuple[list[Any], Any]:
        results, after = stage.update(step, updates, state, params, extra)
        return step.widen(results), after

    found: tuple[list[Any], Any] = cond(step, predicate, updated, lambda _: (otherwise, state))
    return found


def zeros(step: Step, leaves: list[Any]) -> list[Any]:
    """Return updates that change nothing."""
    return [None if x is None else step.xp.zeros_like(x) for x in leaves]


def condition(name: str, value: Any) -> Array | bool:
    """Return what a user's function gave as a condition; HyperparameterError unless it is a bool or a 0-d array of one.

    Parameters
    ----------
    name
        The function, for the error.
    value
        What it returned.
    """
    if isinstance(value, bool):
        return value
    if registry.find(type(value)) is None:
        found = repr(value)
    elif tuple(value.shape) == () and dtype_kind(dtype_name(value.dtype)) == "boolean":
        return value
    else:
        found = _outline(value)
    raise HyperparameterError(f"{name} returned {found}, expected a bool or a 0-d boolean array.")


def _is_array(x: Any) -> bool:
    return hasattr(x, "dtype")


def _check_alike(first: Any, second: Any) -> None:
    mine, others = tree.flatten(first), tree.flatten(second)
    if mine[1] != others[1]:
        raise StateError(f"The two sides of a condition return other containers: {mine[1]} and {others[1]}. {_ADVICE}")
    for path, x, y in zip(tree.paths(mine[1], "result"), mine[0], others[0], strict=True):
        if _outline(x) != _outline(y):
            raise StateError(
                f"The two sides of a condition return for {path} {_outline(x)} and {_outline(y)}. {_ADVICE}"
            )


_ADVICE = "Expected the same; a state keeps its structure, shapes and dtypes from step to step."


def _outline(x: Any) -> str:
    return f"an array of shape {tuple(x.shape)} and dtype {x.dtype}" if _is_array(x) else repr(x)
