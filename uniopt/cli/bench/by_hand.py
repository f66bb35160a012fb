"""The formulas of some optimizers as a user of one library writes them: a loop over a dict of arrays.

They read alike in NumPy, torch and ``jax.numpy``, so each is written once, for the namespace `xp`. Nothing is checked,
a state is a few dicts, and the step count is a Python number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from uniopt.cli.bench.optimizers import hyperparameters
from uniopt.cli.bench.peers import Library
from uniopt.cli.bench.sizes import Leaves

Arrays = dict[str, Any]


def sgd(
    xp: Any, grads: Arrays, state: list[Arrays], params: Arrays, t: int, learning_rate: float, momentum: float
) -> tuple[Arrays, list[Arrays]]:
    """Gradient descent with momentum."""
    updates, traces = {}, {}
    for name, g in grads.items():
        trace = g + momentum * state[0][name]
        updates[name] = -learning_rate * trace
        traces[name] = trace
    return updates, [traces]


def rmsprop(
    xp: Any, grads: Arrays, state: list[Arrays], params: Arrays, t: int, learning_rate: float, eps_in_sqrt: bool
) -> tuple[Arrays, list[Arrays]]:
    """RMSprop with its epsilon outside the root."""
    updates, nus = {}, {}
    for name, g in grads.items():
        nu = 0.9 * state[0][name] + (1 - 0.9) * (g * g)
        updates[name] = -learning_rate * (g / (xp.sqrt(nu) + 1e-8))
        nus[name] = nu
    return updates, [nus]


def lion(
    xp: Any, grads: Arrays, state: list[Arrays], params: Arrays, t: int, learning_rate: float
) -> tuple[Arrays, list[Arrays]]:
    """Lion with its default weight decay."""
    updates, mus = {}, {}
    for name, g in grads.items():
        mu = state[0][name]
        sign = xp.sign(0.9 * mu + (1 - 0.9) * g)
        updates[name] = -learning_rate * (sign + 1e-3 * params[name])
        mus[name] = 0.99 * mu + (1 - 0.99) * g
    return updates, [mus]


def adamw(
    xp: Any, grads: Arrays, state: list[Arrays], params: Arrays, t: int, learning_rate: float, weight_decay: float
) -> tuple[Arrays, list[Arrays]]:
    """AdamW."""
    updates, mus, nus = {}, {}, {}
    c1, c2 = -math.expm1(t * math.log(0.9)), -math.expm1(t * math.log(0.999))
    for name, g in grads.items():
        mu = 0.9 * state[0][name] + (1 - 0.9) * g
        nu = 0.999 * state[1][name] + (1 - 0.999) * (g * g)
        direction = (mu / c1) / (xp.sqrt(nu / c2) + 1e-8)
        updates[name] = -learning_rate * (direction + weight_decay * params[name])
        mus[name], nus[name] = mu, nu
    return updates, [mus, nus]


FORMULAS: dict[str, tuple[Callable[..., tuple[Arrays, list[Arrays]]], int]] = {
    "sgd": (sgd, 1),
    "rmsprop": (rmsprop, 1),
    "lion": (lion, 1),
    "adamw": (adamw, 2),
}
"""Each formula, and the number of arrays that its state has for a parameter."""


class ByHand:
    """A formula by hand; what is compared is the updates."""

    def __init__(self, library: Library, optimizer: str, params: Leaves) -> None:
        self._library = library
        self._formula, slots = FORMULAS[optimizer]
        self._hyper = hyperparameters(optimizer)
        self._params = {name: library.put(x) for name, x in params.items()}
        self._state = [{name: library.xp.zeros_like(x) for name, x in self._params.items()} for _ in range(slots)]
        self._t = 0

    def give(self, gradients: Leaves) -> None:
        """Take the gradients of the following steps."""
        self._gradients = {name: self._library.put(x) for name, x in gradients.items()}

    def step(self) -> None:
        """Compute the updates."""
        self._t += 1
        self._updates, self._state = self._formula(
            self._library.xp, self._gradients, self._state, self._params, self._t, **self._hyper
        )
        self._library.finish((self._updates, self._state))

    def values(self) -> Leaves:
        """Return the updates."""
        return {name: self._library.get(x) for name, x in self._updates.items()}
