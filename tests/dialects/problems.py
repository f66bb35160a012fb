"""The parameters and gradients on which the frameworks' own optimizers are followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Tree = Any


def nested(make: Callable[..., Any]) -> Tree:
    """Return a nested tree of ``make(*shape)``."""
    return {
        "dense": {"bias": make(3), "kernel": make(4, 3)},
        "embedding": make(3, 5),
        "rest": [make(2, 3, 4), (make(1, 5), make())],
    }


def start_of(dtype: str, scale: float, tree: Callable[..., Tree] = nested) -> Tree:
    """Return parameters: normal numbers times `scale`."""
    rng = np.random.default_rng(5)
    return tree(lambda *shape: np.asarray(scale * rng.standard_normal(shape), dtype))


def gradients_of(dtype: str, steps: int, tree: Callable[..., Tree] = nested) -> list[Tree]:
    """Return gradients of many magnitudes, among them tiny ones; a tenth of the elements, and some leaves, are 0."""
    rng = np.random.default_rng(7)

    def make(*shape: int) -> Any:
        size = rng.choice([1.0, 1.0, 1.0, 1e-8, 0.0])
        values = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 1, shape) * (rng.random(shape) > 0.1)
        return np.asarray(size * values, dtype)

    return [tree(make) for _ in range(steps)]
