"""One step of training as a function of gradients, state and parameters: as it is, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uniopt.backends import Backend

import uniopt
from uniopt import tree
from uniopt.typing import Tree


class Eager:
    """A step, operation by operation: returns the updates, the next state and the next parameters."""

    def __init__(self, tx: Any) -> None:
        self.tx = tx

    def __call__(self, gradients: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree, Tree]:
        updates, state = self.tx.update(gradients, state, params)
        return updates, state, uniopt.apply_updates(params, updates)


class Traced:
    """A step compiled by the library's own compiler.

    It is compiled as a function of flat arrays, which every compiler takes, whatever containers it knows.

    Attributes
    ----------
    traces
        How often the step has been traced.
    """

    def __init__(self, tx: Any, backend: Backend) -> None:
        self.traces = 0
        self._step = Eager(tx)
        self._compiled: Callable[..., Any] = backend.compile(self._flat)

    def __call__(self, gradients: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree, Tree]:
        self._given = tree.flatten((gradients, state, params))
        arrays = self._compiled(*[x for x in self._given[0] if x is not None])
        result: tuple[Tree, Tree, Tree] = _rebuild(self._result, arrays)
        return result

    def _flat(self, *arrays: Any) -> tuple[Any, ...]:
        self.traces += 1  # Python runs only while the function is traced
        self._result = tree.flatten(self._step(*_rebuild(self._given, arrays)))
        results = self._result[0]
        self._result = [None if x is None else ... for x in results], self._result[1]  # keeps no tracer
        return tuple(x for x in results if x is not None)


def _rebuild(pattern: tuple[list[Any], Any], arrays: Any) -> Any:
    """Return the tree of a flattened one, with `arrays` in place of its leaves other than ``None``."""
    rest = iter(arrays)
    leaves, structure = pattern
    return tree.unflatten(structure, [None if leaf is None else next(rest) for leaf in leaves])
