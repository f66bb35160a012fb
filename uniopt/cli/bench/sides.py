"""One side of a comparison: something that takes steps. Here uniopt's; the others' are in `peers` and `by_hand`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

import uniopt
from uniopt.cli.bench.peers import Library
from uniopt.cli.bench.sizes import Leaves
from uniopt.transformation import GradientTransformation


def given(library: Library, extra: dict[str, float]) -> dict[str, Any]:
    """Return the extra arguments as a training loop has them: arrays, for they come from the objective."""
    return {name: library.put(np.asarray(x, np.float32)) for name, x in extra.items()}


class Side(Protocol):
    """One side of a comparison."""

    def give(self, gradients: Leaves) -> None:
        """Take the gradients of the following steps."""

    def step(self) -> None:
        """Take a step, and return when it is done."""

    def values(self) -> Leaves:
        """Return what is compared, without a copy where there can be a view."""


class Compiled:
    """``uniopt.compile(tx)``."""

    def __init__(self, library: Library, tx: GradientTransformation, params: Leaves, extra: dict[str, float]) -> None:
        self._library = library
        self._step = uniopt.compile(tx)
        self._extra = given(library, extra)
        self._params: Any = {name: library.parameter(x) for name, x in params.items()}
        self._state: Any = tx.init(self._params)

    def give(self, gradients: Leaves) -> None:
        self._gradients = {name: self._library.put(x) for name, x in gradients.items()}

    def step(self) -> None:
        self._params, self._state = self._step(self._gradients, self._state, self._params, **self._extra)
        self._library.finish(self._params)

    def values(self) -> Leaves:
        return {name: self._library.get(x) for name, x in self._params.items()}


class Eager:
    """``tx.update`` and `apply_updates`, operation by operation."""

    def __init__(self, library: Library, tx: GradientTransformation, params: Leaves, extra: dict[str, float]) -> None:
        self._library = library
        self._tx = tx
        self._extra = given(library, extra)
        self._params: Any = {name: library.put(x.copy()) for name, x in params.items()}
        self._state = tx.init(self._params)

    def give(self, gradients: Leaves) -> None:
        self._gradients = {name: self._library.put(x) for name, x in gradients.items()}

    def step(self) -> None:
        updates, self._state = self._tx.update(self._gradients, self._state, self._params, **self._extra)
        self._params = uniopt.apply_updates(self._params, updates)
        self._library.finish(self._params)

    def values(self) -> Leaves:
        return {name: self._library.get(x) for name, x in self._params.items()}


class Update:
    """``tx.update`` alone; what is compared is the updates."""

    def __init__(self, library: Library, tx: GradientTransformation, params: Leaves) -> None:
        self._library = library
        self._tx = tx
        self._params = {name: library.put(x) for name, x in params.items()}
        self._state = tx.init(self._params)

    def give(self, gradients: Leaves) -> None:
        self._gradients = {name: self._library.put(x) for name, x in gradients.items()}

    def step(self) -> None:
        self._updates: Any
        self._updates, self._state = self._tx.update(self._gradients, self._state, self._params)
        self._library.finish((self._updates, self._state))

    def values(self) -> Leaves:
        return {name: self._library.get(x) for name, x in self._updates.items()}
