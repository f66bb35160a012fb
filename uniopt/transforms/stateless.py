"""A transformation from one function of the gradients and the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uniopt import tree
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, transformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Tree


def stateless(f: Callable[[Tree, Tree], Tree]) -> GradientTransformation:
    """Make a transformation without state from a function of trees.

    Parameters
    ----------
    f
        ``f(updates, params)`` returns the transformed updates, a tree of the same structure; `params` is None where
        ``update`` was called without parameters. 16-bit leaves arrive as float32. To pickle the transformation, give
        a function of a module.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.stateless(lambda updates, params: uniopt.tree.map(lambda g: 2 * g, updates))
    >>> tx.update({"w": np.ones(2)}, tx.init({"w": np.ones(2)}))[0]
    {'w': array([2., 2.])}
    """
    return transformation(Stateless(f))


def stateless_with_tree_map(f: Callable[[Array, Array | None], Array]) -> GradientTransformation:
    """Make a transformation without state from a function of one leaf.

    Parameters
    ----------
    f
        ``f(g, p)`` returns the transformed leaf; `p` is None where ``update`` was called without parameters. A leaf of
        ``None`` is skipped, and 16-bit ones arrive as float32. To pickle the transformation, give a function of a
        module.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.stateless_with_tree_map(lambda g, p: g + 0.5 * p)
    >>> params = {"w": np.ones(2)}
    >>> tx.update({"w": np.ones(2)}, tx.init(params), params)[0]
    {'w': array([1.5, 1.5])}
    """
    return transformation(StatelessWithTreeMap(f))


@dataclass(frozen=True, eq=False, repr=False)
class Stateless(Stage):
    """The stage behind `stateless`."""

    f: Callable[[Tree, Tree], Tree]

    def __repr__(self) -> str:
        return f"stateless({getattr(self.f, '__name__', self.f)})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return EmptyState()

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        given = step.rebuild(updates)
        results = self.f(given, None if params is None else step.rebuild(params))
        return tree.align(step.structure, results, given, names=("updates", "results")), state


@dataclass(frozen=True, eq=False, repr=False)
class StatelessWithTreeMap(Stage):
    """The stage behind `stateless_with_tree_map`."""

    f: Callable[[Array, Array | None], Array]

    def __repr__(self) -> str:
        return f"stateless_with_tree_map({getattr(self.f, '__name__', self.f)})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return EmptyState()

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        values = [None] * len(updates) if params is None else params
        return [None if g is None else self.f(g, p) for g, p in zip(updates, values, strict=True)], state
