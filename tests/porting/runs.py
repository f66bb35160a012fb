"""The same gradients through the optimizers of several frameworks, from parameters by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import uniopt
from tests.dialects.torch_runs import scalars_like

Named = dict[str, Any]

SHAPES = {"conv.weight": (3, 2, 4), "dense.bias": (3,), "dense.weight": (3, 5), "gain": (), "norm.weight": (1,)}
MATRICES = {"first.weight": (4, 4), "second.weight": (3, 5)}


def start_of(dtype: str, shapes: dict[str, tuple[int, ...]] = SHAPES) -> Named:
    """Return parameters by name."""
    rng = np.random.default_rng(5)
    return {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in shapes.items()}


def gradients_of(dtype: str, steps: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> list[Named]:
    """Return gradients of many magnitudes by name, for each step."""
    rng = np.random.default_rng(7)

    def make(shape: tuple[int, ...]) -> Any:
        return np.asarray(rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 1, shape), dtype)

    return [{name: make(shape) for name, shape in shapes.items()} for _ in range(steps)]


def shapes_of(optimizer: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes that an optimizer of torch takes."""
    return MATRICES if optimizer == "Muon" else SHAPES


class TorchRun:
    """Parameters and an optimizer of torch."""

    def __init__(
        self, optimizer: str, params: Named, hyper: dict[str, Any], groups: Sequence[Any] | None = None
    ) -> None:
        dtype = str(next(iter(params.values())).dtype)
        self.named = {name: torch.from_numpy(np.array(x)).requires_grad_() for name, x in params.items()}
        self.dtype = dtype
        with scalars_like(dtype):
            of_groups = [{**own, "params": [self.named[n] for n in names]} for names, own in groups or []]
            self.optimizer = getattr(torch.optim, optimizer)(of_groups or list(self.named.values()), **hyper)
        self.scheduler: Any = None

    def run(self, gradients: Sequence[Named]) -> TorchRun:
        """Take a step for each of the gradients; one that is missing or None is none."""
        with scalars_like(self.dtype):
            for gradient in gradients:
                for name, p in self.named.items():
                    g = gradient.get(name)
                    p.grad = None if g is None else torch.from_numpy(np.array(g))
                self.optimizer.step()
                if self.scheduler is not None:
                    self.scheduler.step()
        return self

    @property
    def params(self) -> Named:
        return {name: p.detach().numpy().copy() for name, p in self.named.items()}


def uniopt_run(tx: Any, state: Any, params: Any, gradients: Sequence[Any], library: str) -> tuple[Any, Any]:
    """Return the parameters, on NumPy arrays, and the state after a step for each of the gradients."""
    backend = uniopt.backends.get(library)
    params = uniopt.tree.map(backend.from_numpy, params)
    with torch.no_grad():
        for gradient in gradients:
            updates, state = tx.update(uniopt.tree.map(backend.from_numpy, gradient), state, params)
            params = uniopt.apply_updates(params, updates)
    return uniopt.tree.map(lambda x: np.array(backend.to_numpy(x)), params), state


def optax_run(tx: Any, state: Any, params: Any, gradients: Sequence[Any]) -> tuple[Any, Any]:
    """Return the parameters, on NumPy arrays, and the state after a step of optax for each of the gradients."""
    import jax
    import optax

    params = jax.tree.map(jax.numpy.asarray, params)
    for gradient in gradients:
        updates, state = tx.update(jax.tree.map(jax.numpy.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(np.asarray, params), state


def error(found: Any, expected: Any, moved_from: Any) -> float:
    """Return the largest difference of a leaf, in units in the last place of its largest value or distance moved."""
    worst = 0.0
    for x, y, z in zip(*(uniopt.tree.leaves(t) for t in (found, expected, moved_from)), strict=True):
        if y.size == 0:
            continue
        size = max(float(np.abs(y).max()), float(np.abs(y - z).max()))
        if not np.isfinite(x).all():
            return math.inf
        worst = max(worst, float(np.abs(x - y).max()) / float(np.spacing(np.asarray(size, y.dtype))))
    return worst
