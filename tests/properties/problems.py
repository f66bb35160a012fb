"""Parameters with odd shapes, streams of gradients for them, and the optimizers that are tried on them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt


@dataclass(frozen=True)
class Case:
    """An optimizer and its settings, by the names that uniopt and optax share."""

    optimizer: str
    settings: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)  # what optax is given instead

    def build(self, **changes: Any) -> uniopt.GradientTransformation:
        """Return uniopt's transformation."""
        tx: uniopt.GradientTransformation = getattr(uniopt, self.optimizer)(**{**self.settings, **changes})
        return tx

    def build_optax(self) -> Any:
        """Return optax's transformation."""
        import optax

        return getattr(optax, self.optimizer)(**{**self.settings, **self.theirs})

    def __str__(self) -> str:
        settings = ",".join(f"{name}={getattr(x, '__name__', x)}" for name, x in self.settings.items())
        return f"{self.optimizer}({settings.replace(' ', '')})"


PLAIN = [
    Case("sgd", {"learning_rate": 0.1}),
    Case("sgd", {"learning_rate": 0.1, "momentum": 0.9}),
    Case("sgd", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    Case("noisy_sgd", {"learning_rate": 0.1, "eta": 0.0}, {"key": 0}),
    Case("adam", {"learning_rate": 1e-2}),
    Case("adam", {"learning_rate": 1e-2, "b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-6}),
    Case("adam", {"learning_rate": 1e-2, "b1": 0.0, "nesterov": True}),
    Case("adamw", {"learning_rate": 1e-2}),
    Case("adamw", {"learning_rate": 0.1, "weight_decay": 0.3, "nesterov": True}),
    Case("nadam", {"learning_rate": 1e-2}),
    Case("nadam", {"learning_rate": 1e-2, "b1": 0.5, "b2": 0.99}),
    Case("nadamw", {"learning_rate": 1e-2}),
    Case("nadamw", {"learning_rate": 1e-2, "weight_decay": 0.1, "eps_root": 1e-8}),
    Case("amsgrad", {"learning_rate": 1e-2}),
    Case("amsgrad", {"learning_rate": 1e-2, "b2": 0.9, "bias_correction_mu": False, "bias_correction_nu": False}),
    Case("rmsprop", {"learning_rate": 1e-2}),
    Case("rmsprop", {"learning_rate": 1e-2, "decay": 0.99, "eps_in_sqrt": False, "initial_scale": 1.0}),
    Case("rmsprop", {"learning_rate": 1e-2, "bias_correction": True}),
    Case("rmsprop", {"learning_rate": 1e-2, "momentum": 0.9}),
    Case("rmsprop", {"learning_rate": 1e-2, "momentum": 0.9, "nesterov": True, "eps_in_sqrt": False}),
    # v - m**2 loses half of its digits where the gradients are alike; eps carries the rest.
    Case("rmsprop", {"learning_rate": 1e-2, "centered": True, "eps": 1e-3}),
    # Bias-corrected, v - m**2 is nothing but rounding in the first step; a smaller eps would divide by that.
    Case("rmsprop", {"learning_rate": 1e-2, "centered": True, "bias_correction": True, "momentum": 0.5, "eps": 0.1}),
]
"""Every optimizer with several settings."""


def first_case_of(optimizer: str) -> Case:
    """Return the first case of an optimizer."""
    return next(case for case in PLAIN if case.optimizer == optimizer)


ONE_EACH = [first_case_of(name) for name in dict.fromkeys(case.optimizer for case in PLAIN)]
"""Every optimizer once."""

STATEFUL = [case for case in ONE_EACH if case.optimizer not in ("sgd", "noisy_sgd")] + [PLAIN[1]]
"""Every optimizer that has slots, once."""


def rules_first(cases: list[Case]) -> list[Any]:
    """Return test parameters of which the quick tests take each rule once; the others are marked wide.

    The relatives of adamw are its rule with other switches. Drawing noise takes seconds where every operation on every
    shape is compiled by itself; tests/random has it.
    """
    relatives = ("adam", "nadam", "nadamw", "noisy_sgd")
    return [pytest.param(case, marks=pytest.mark.wide if case.optimizer in relatives else ()) for case in cases]


def seed_of(*what: Any) -> int:
    """Return a seed that follows from a description, the same in every process."""
    return zlib.crc32(repr(what).encode())


def odd_tree(make: Callable[..., Any]) -> Any:
    """Return a nested tree of ``make(*shape)``: 0-d, empty, one-element and oddly shaped leaves."""
    return {
        "dense": {"w": make(3, 5), "b": make(5)},
        "conv": [make(2, 1, 3), (make(7), make(4, 3))],
        "temperature": make(),
        "nothing": make(0, 4),
        "one": (make(1),),
    }


def small_tree(make: Callable[..., Any]) -> Any:
    """Return a tree of three leaves, for what is asked of every library and optimizer."""
    return {"w": make(2, 3), "rest": (make(), make(0, 2))}


def parameters(seed: int, dtype: Any = np.float64, scale: float = 1.0, tree: Callable[..., Any] = odd_tree) -> Any:
    """Return a tree of normal numbers; zeros where `scale` is 0."""
    rng = np.random.default_rng(seed)
    return tree(lambda *shape: np.asarray(scale * rng.standard_normal(shape), dtype=dtype))


def gradients(seed: int, steps: int, dtype: Any = np.float64, tree: Callable[..., Any] = odd_tree) -> list[Any]:
    """Return trees of gradients of many magnitudes; a tenth of the elements is zero in a step."""
    rng = np.random.default_rng(seed)

    def make(*shape: int) -> Any:
        values = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 1, shape) * (rng.random(shape) > 0.1)
        return np.asarray(values, dtype=dtype)

    return [tree(make) for _ in range(steps)]


def moved(tree: Any, backend: Backend, dtype: str | None = None) -> Any:
    """Return a tree of NumPy arrays as one of the library's arrays."""
    return uniopt.tree.map(lambda x: backend.from_numpy(x, dtype), tree)


def host(tree: Any, backend: Backend) -> Any:
    """Return a tree of the library's arrays as one of NumPy arrays."""
    return uniopt.tree.map(backend.to_numpy, tree)


def settled(tree: Any, backend: Backend) -> Any:
    """Return the tree computed: a lazy library would otherwise carry every step so far in its graph."""
    if backend.name == "dask":
        import dask

        leaves, structure = uniopt.tree.flatten(tree)
        present = [x for x in leaves if x is not None]
        # Fusing the graph of one step takes far longer than computing it.
        computed = iter(dask.persist(*present, optimize_graph=False))
        return uniopt.tree.unflatten(structure, [None if x is None else next(computed) for x in leaves])
    if backend.name == "mlx":
        import mlx.core as mx

        mx.eval(uniopt.tree.leaves(tree))
    return tree


def walk(
    tx: uniopt.GradientTransformation, params: Any, stream: list[Any], backend: Backend
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield ``(updates, state, params)`` after each step of a stream of gradients."""
    state = settled(tx.init(params), backend)
    for grads in stream:
        updates, state = tx.update(grads, state, params)
        updates, state, params = settled((updates, state, uniopt.apply_updates(params, updates)), backend)
        yield updates, state, params


def trajectory(tx: uniopt.GradientTransformation, start: Any, stream: list[Any], backend: Backend) -> list[list[Any]]:
    """Return the parameters' leaves at the start and after each step; NumPy arrays go in and come out."""
    params = moved(start, backend)
    steps = walk(tx, params, [moved(grads, backend) for grads in stream], backend)
    return [uniopt.tree.leaves(host(tree, backend)) for tree in (params, *(params for _, _, params in steps))]
