"""Wrapped optimizers of uniopt and of optax, and walks by the one and the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import float64
from tests.properties.problems import gradients, host, moved, parameters, seed_of, settled
from uniopt import tree


@dataclass(frozen=True)
class Wrapped:
    """A wrapped optimizer.

    Attributes
    ----------
    name
        What it is called in the tests' names.
    make
        ``make(library, contrib)`` returns it, made of the functions of `uniopt` (given twice) or of optax.
    in_pairs
        Whether its parameters are fast and slow ones.
    grad_fn
        Whether it is given the gradients of an objective as an extra argument.
    """

    name: str
    make: Callable[[Any, Any], Any]
    in_pairs: bool = False
    grad_fn: bool = False

    def build(self) -> uniopt.GradientTransformation:
        """Return uniopt's transformation."""
        tx: uniopt.GradientTransformation = self.make(uniopt, uniopt)
        return tx

    def start(self, params: Any, library: Any = uniopt) -> Any:
        """Return the parameters as the transformation takes them."""
        return library.LookaheadParams.init_synced(params) if self.in_pairs else params

    def extra(self, tree_map: Callable[..., Any]) -> dict[str, Any]:
        """Return the extra arguments of update."""
        return {"grad_fn": partial(_slope, tree_map)} if self.grad_fn else {}

    def __str__(self) -> str:
        return self.name


def _slope(tree_map: Callable[..., Any], params: Any, i: int) -> Any:
    return tree_map(lambda p: 0.5 * p + 0.125 * (i + 1) * (p * p - 1.0), params)


FROZEN = {"dense": {"w": False, "b": True}, "rest": False}
LABELS = {"dense": {"w": "a", "b": "b"}, "rest": ("c", "a", "b")}


def wrapped_tree(make: Callable[..., Any]) -> Any:
    """Return a tree with a matrix, a vector, a 0-d and an empty leaf."""
    return {"dense": {"w": make(2, 3), "b": make(3)}, "rest": (make(), make(0, 2), None)}


def _climb(m: Any, c: Any, **adam: float) -> Any:
    return m.chain(c.normalize(), m.adam(0.25, **adam) if adam else m.sgd(0.25))


WRAPPED = [
    Wrapped("flatten adam", lambda m, c: m.flatten(m.adam(0.1))),
    Wrapped("flatten trust ratio", lambda m, c: m.flatten(m.lamb(0.1))),
    Wrapped("freeze", lambda m, c: m.chain(m.adamw(0.1), m.freeze(FROZEN))),
    Wrapped("freeze all", lambda m, c: m.chain(m.sgd(0.1), m.freeze(True))),
    Wrapped("selective", lambda m, c: m.selective_transform(m.adamw(0.1), freeze_mask=FROZEN)),
    Wrapped(
        "partition",
        lambda m, c: m.partition({"a": m.adam(0.1), "b": m.sgd(0.1, momentum=0.5), "c": m.rmsprop(0.01)}, LABELS),
    ),
    Wrapped("lookahead", lambda m, c: m.lookahead(m.sgd(0.1, momentum=0.5), 5, 0.5), in_pairs=True),
    Wrapped("lookahead reset", lambda m, c: m.lookahead(m.adam(0.1), 3, 0.75, True), in_pairs=True),
    Wrapped("lookahead every step", lambda m, c: m.lookahead(m.adam(0.1), 1, 0.25), in_pairs=True),
    Wrapped("lookahead in a chain", lambda m, c: m.chain(m.scale(0.5), m.lookahead(m.sgd(0.1), 2, 0.5)), in_pairs=True),
    Wrapped("sam", lambda m, c: c.sam(m.sgd(0.1), _climb(m, c))),
    Wrapped("sam with states", lambda m, c: c.sam(m.adam(0.1), _climb(m, c, b1=0.5), sync_period=3)),
    Wrapped("sam, nothing reset", lambda m, c: c.sam(m.adam(0.1), _climb(m, c, b1=0.5), 4, reset_state=False)),
    Wrapped("opaque sam", lambda m, c: c.sam(m.adam(0.1), _climb(m, c, b1=0.5), 3, opaque_mode=True), grad_fn=True),
    Wrapped(
        "opaque sam, nothing reset",
        lambda m, c: c.sam(m.sgd(0.1), _climb(m, c, b1=0.5), 2, reset_state=False, opaque_mode=True),
        grad_fn=True,
    ),
    Wrapped("schedule_free", lambda m, c: c.schedule_free(m.sgd(0.1), 0.1)),
    Wrapped(
        "schedule_free with settings",
        lambda m, c: c.schedule_free(m.adam(0.1, b1=0.0), 0.1, b1=0.5, weight_lr_power=0.5),
    ),
    Wrapped("schedule_free without rate", lambda m, c: c.schedule_free(m.sgd(0.0), 0.0)),
    Wrapped("schedule_free_sgd", lambda m, c: c.schedule_free_sgd(0.25, weight_decay=0.125, b1=0.75)),
    Wrapped("schedule_free_adamw", lambda m, c: c.schedule_free_adamw(0.1, weight_decay=0.1, b2=0.9, eps=1e-3)),
    Wrapped("mechanize", lambda m, c: c.mechanize(m.sgd(1.0))),
    Wrapped("mechanize with state", lambda m, c: c.mechanize(m.adam(0.1), weight_decay=0.1, s_init=0.01, num_betas=3)),
    Wrapped("mechanize, large eps", lambda m, c: c.mechanize(m.sgd(0.5, 0.5), eps=0.5, s_init=1.0, num_betas=1)),
]  # fmt: skip
"""Each wrapper with several settings, by the names that uniopt and optax share."""


@cache
def problem(name: str, scale: float, steps: int) -> tuple[Any, list[Any]]:
    """Return parameters and gradients for a wrapped optimizer."""
    seed = seed_of(name, scale)
    return parameters(seed, scale=scale, tree=wrapped_tree), gradients(seed + 1, steps, tree=wrapped_tree)


def walk(wrapped: Wrapped, start: Any, stream: list[Any], backend: Backend) -> Iterator[tuple[Any, Any, Any]]:
    """Yield ``(updates, state, params)``, trees of the library's arrays, after each step; NumPy arrays go in."""
    tx, params = wrapped.build(), moved(start, backend)
    state = settled(tx.init(params), backend)
    extra = wrapped.extra(uniopt.tree.map)
    for grads in stream:
        updates, state = tx.update(moved(grads, backend), state, params, **extra)
        updates, state, params = settled((updates, state, uniopt.apply_updates(params, updates)), backend)
        yield updates, state, params


def trajectory(wrapped: Wrapped, start: Any, stream: list[Any], backend: Backend) -> list[list[Any]]:
    """Return the parameters' leaves at the start and after each step."""
    with float64(backend.name):
        steps = walk(wrapped, wrapped.start(start), stream, backend)
        after = [uniopt.tree.leaves(host(params, backend)) for _, _, params in steps]
    return [uniopt.tree.leaves(wrapped.start(start)), *after]


@cache
def optax_step(name: str) -> tuple[Any, Any]:
    """Return optax's transformation and one step of it, compiled."""
    import jax
    import optax

    wrapped = next(w for w in WRAPPED if w.name == name)
    tx, extra = wrapped.make(optax, optax.contrib), wrapped.extra(jax.tree.map)

    @jax.jit
    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return tx, step


def optax_walk(wrapped: Wrapped, start: Any, stream: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield ``(state, params)`` after each of optax's steps, in float64."""
    import jax
    import optax

    with float64("jax"):
        tx, step = optax_step(wrapped.name)
        params = wrapped.start(jax.tree.map(jax.numpy.asarray, start), optax)
        state = tx.init(params)
        for grads in stream:
            params, state = step(params, state, grads)
            yield jax.tree.map(np.asarray, (state, params))


def assert_close(found: Any, expected: Any, rtol: float = 2e-5) -> None:
    for (path, x), y in zip(tree.leaves_with_paths(found, ""), tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype), path
        scale = np.max(np.abs(y), initial=1e-3)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale, err_msg=path)
