"""One step of training as a function of gradients, state and parameters: as it is, or compiled."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

from uniopt.backends import Backend

import uniopt
from uniopt import tree
from uniopt.typing import Tree


def takes_value(update: Callable[..., Any]) -> bool:
    """Return whether an update can be told the objective's value; optax's plain ones cannot."""
    accepted = inspect.signature(update).parameters
    return "value" in accepted or any(p.kind is p.VAR_KEYWORD for p in accepted.values())


class Eager:
    """A step, operation by operation: returns the updates, the next state and the next parameters."""

    def __init__(self, tx: Any) -> None:
        self.tx = tx
        self._takes_value = takes_value(tx.update)

    def __call__(self, gradients: Tree, state: Tree, params: Tree, value: float) -> tuple[Tree, Tree, Tree]:
        extra = {"value": value} if self._takes_value else {}
        updates, state = self.tx.update(gradients, state, params, **extra)
        return updates, state, uniopt.apply_updates(params, updates)

    def checkpoint(self) -> Callable[[], Any]:
        """Return what makes the program anew, with nothing of what the present one may have learnt from its steps."""
        return lambda: Eager(self.tx)


class Pickled(Eager):
    """The same of a transformation that is pickled before its first step: what it learns must be in its state."""

    def __init__(self, tx: Any) -> None:
        super().__init__(tx)
        self._unused = pickle.dumps(tx)

    def checkpoint(self) -> Callable[[], Any]:
        """Return what makes the program anew, as it was before its first step."""
        unused = self._unused
        return lambda: Pickled(pickle.loads(unused))


class Compiled:
    """A step by `uniopt.compile` that keeps what it is given; it makes no updates, only new parameters."""

    def __init__(self, tx: Any) -> None:
        self._step = uniopt.compile(tx, donate=False)

    def __call__(self, gradients: Tree, state: Tree, params: Tree, value: float) -> tuple[None, Tree, Tree]:
        params, state = self._step(gradients, state, params, value=value)
        return None, state, params


class Vectorized:
    """The step of several runs at once, by the library's own vectoriser: every array has an axis for the runs first."""

    def __init__(self, tx: Any, vmap: Callable[..., Any]) -> None:
        self._tx = tx
        self._step = Eager(tx)
        self._vmap = vmap

    def init(self, params: Tree) -> Tree:
        """Return the state of all runs."""
        return self.each(self._tx.init, params)

    def __call__(self, gradients: Tree, state: Tree, params: Tree, value: float) -> Any:
        return self.each(lambda g, s, p: self._step(g, s, p, value), gradients, state, params)

    def each(self, f: Callable[..., Tree], *given: Tree) -> Tree:
        """Return what a function of trees returns for every run."""
        leaves, structure = tree.flatten(given)  # a vectoriser takes arrays, and no None
        present = [i for i, x in enumerate(leaves) if x is not None]
        made: list[Any] = []

        def of_arrays(*arrays: Any) -> list[Any]:
            whole: list[Any] = [None] * len(leaves)
            for i, x in zip(present, arrays, strict=True):
                whole[i] = x
            results, made[:] = _apart(f(*tree.unflatten(structure, whole)))
            return results

        results = iter(self._vmap(of_arrays)(*(leaves[i] for i in present)))
        shape, places = made
        return tree.unflatten(shape, [next(results) if here else None for here in places])


def _apart(made: Tree) -> tuple[list[Any], tuple[Any, list[bool]]]:
    """Return the arrays of a tree, and how to put it together again: its structure, and where in it they are."""
    leaves, structure = tree.flatten(made)
    return [x for x in leaves if x is not None], (structure, [x is not None for x in leaves])


class Traced:
    """A step compiled by the library's own compiler.

    Parameters
    ----------
    tx
        The transformation.
    backend
        The library.
    compilations
        Returns how many programs the library has compiled so far. By default it is counted how often Python runs the
        step, which is once for each program, except where a compiler carries out the counting as well.
    """

    def __init__(self, tx: Any, backend: Backend, compilations: Callable[[], int] | None = None) -> None:
        step = Eager(tx)
        self._traces = 0

        def counting(*given: Tree) -> Any:
            self._traces += 1
            return step(*given)

        self._compilations = compilations or (lambda: self._traces)
        self._before = self._compilations()
        self._compiled = backend.compile(step.__call__ if compilations else counting)

    def __call__(self, *given: Tree) -> Any:
        return self._compiled(*given)

    def compilations(self) -> int:
        """Return how often the step has been compiled."""
        return self._compilations() - self._before
