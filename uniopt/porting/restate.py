"""Pouring a state into another one of the same fields: what uniopt and optax call by the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uniopt import tree
from uniopt.errors import PortingError

Leaf = Callable[[Any, Any, str], Any]
"""Returns a value in the form of the leaf that it replaces; the third argument is its path."""

_CONSTANTS = ("ns_coeffs",)
"""Hyperparameters that optax keeps in its states."""


def restated(template: Any, state: Any, path: str, leaf: Leaf) -> Any:
    """Return a template with what another state has under the same fields, keys and positions.

    Where one of the two has one value for all parameters and the other one for each, it is repeated, or must be the
    same for all.

    Raises
    ------
    PortingError
        If the other state has no such field, or another shape.
    """
    level = None if template is None else tree.one_level(template)
    if template is None or (level is not None and not level.children):
        return template
    if level is None:
        value = _one_of(state, path)
        if np.shape(value) != np.shape(template):
            raise PortingError(f"{path} has shape {np.shape(value)}, expected {np.shape(template)}.")
        return leaf(value, template, path)
    if tree.one_level(state) is None:  # one for all
        if hasattr(template, "_fields") or state is None:
            raise PortingError(f"{path} is {type(state).__name__}, expected {type(template).__name__}.")
        return level.unflatten_func(level.metadata, [restated(x, state, path, leaf) for x in level.children])
    names = template._fields if hasattr(template, "_fields") else level.entries
    parts = []
    for name, child in zip(names, level.children, strict=True):
        if name in _CONSTANTS:
            parts.append(child)
        else:
            parts.append(restated(child, _child(state, name, template, path), _below(path, name, template), leaf))
    return level.unflatten_func(level.metadata, parts)


def _child(state: Any, name: Any, template: Any, path: str) -> Any:
    """Return what a container has by a field, key or position."""
    if hasattr(template, "_fields"):
        if name in getattr(state, "_fields", ()):
            return getattr(state, name)
    else:
        level = tree.one_level(state)
        if name in level.entries and (isinstance(template, dict) or len(level.children) == len(template)):
            return level.children[list(level.entries).index(name)]
    raise PortingError(
        f"{path} is {type(state).__name__}, which has no {name!r} as {type(template).__name__} does. It is the state "
        "of another transformation."
    )


def _below(path: str, name: Any, template: Any) -> str:
    return f"{path}.{name}" if hasattr(template, "_fields") else f"{path}[{name!r}]"


def _one_of(state: Any, path: str) -> Any:
    """Return the one value that a state has for all parameters."""
    values = tree.leaves(state)
    if not values or any(not np.array_equal(np.asarray(x), np.asarray(values[0])) for x in values[1:]):
        raise PortingError(f"{path} has {len(values)} values that differ from parameter to parameter, expected one.")
    return values[0]
