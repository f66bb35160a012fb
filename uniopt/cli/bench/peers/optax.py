"""optax in the form that is its fastest: the whole step jitted, parameters and state donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import optax
import optax.contrib

from uniopt.cli.bench.compositions import COMPOSITIONS, NOT_IN_OPTAX
from uniopt.cli.bench.optimizers import extra, hyperparameters
from uniopt.cli.bench.peers import Library
from uniopt.cli.bench.sides import given
from uniopt.cli.bench.sizes import Leaves


def has(optimizer: str) -> bool:
    """Return whether optax has an optimizer of that name, or the parts of a composition."""
    return _constructor(optimizer) is not None


class Jitted:
    """optax's optimizer of the same name, with the same arguments."""

    def __init__(self, optimizer: str, library: Library, params: Leaves) -> None:
        self._library = library
        constructor = _constructor(optimizer)
        assert constructor is not None  # else there is nothing to compare with
        tx = optax.with_extra_args_support(constructor(**hyperparameters(optimizer, "optax")))
        more = given(library, extra(optimizer))

        def step(gradients: Any, state: Any, params: Any, more: dict[str, Any]) -> tuple[Any, Any]:
            updates, state = tx.update(gradients, state, params, **more)
            return optax.apply_updates(params, updates), state

        self._step = jax.jit(step, donate_argnums=(1, 2))
        self._more = more
        self._params: Any = {name: library.parameter(x) for name, x in params.items()}
        # Initial states may share arrays, or hold the parameters themselves, and nothing can be donated twice.
        self._state: Any = jax.tree.map(lambda x: jax.numpy.array(x, copy=True), tx.init(self._params))

    def give(self, gradients: Leaves) -> None:
        """Take the gradients of the following steps."""
        self._gradients = {name: self._library.put(x) for name, x in gradients.items()}

    def step(self) -> None:
        """Take a step."""
        self._params, self._state = self._step(self._gradients, self._state, self._params, self._more)
        self._library.finish(self._params)

    def values(self) -> Leaves:
        """Return the parameters."""
        return {name: self._library.get(x) for name, x in self._params.items()}


def _constructor(name: str) -> Any:
    if name in COMPOSITIONS:
        return None if name in NOT_IN_OPTAX else partial(COMPOSITIONS[name], optax)
    return getattr(optax, name, None) or getattr(optax.contrib, name, None)
