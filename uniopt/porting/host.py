"""Bringing trees of arrays to NumPy, where states are taken apart, and from there to a library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from uniopt import tree
from uniopt.backends import registry
from uniopt.errors import PortingError
from uniopt.typing import Tree


def to_numpy(values: Tree) -> Tree:
    """Return a tree with NumPy arrays in place of those of any library; bfloat16 becomes float32."""
    return tree.map(array, values)


def array(x: Any) -> Any:
    """Return an array of any library, or a number, as an array of NumPy."""
    backend = registry.find(type(x))
    return np.asarray(x if backend is None else backend.to_numpy(x))


def to_library(values: Tree, library: str) -> Tree:
    """Return a tree of NumPy arrays with arrays of a library."""
    backend = registry.get(library)
    return tree.map(backend.from_numpy, values)


def named_arrays(named_parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return parameters by name, whether they come as pairs or as a dict; PortingError if they come otherwise."""
    try:
        named = dict(named_parameters)
    except (TypeError, ValueError):
        named = {}
    if not all(isinstance(name, str) for name in named) or not (named or isinstance(named_parameters, Mapping)):
        raise PortingError(
            f"named_parameters is {type(named_parameters).__name__}, expected pairs of names and arrays or a dict of "
            "them. Pass model.named_parameters()."
        )
    return named
