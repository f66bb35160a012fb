"""States of every kind of slot, on any library, and their values bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from uniopt.backends import Backend, registry
from uniopt.backends.dtypes import dtype_name

import uniopt
from tests.properties.problems import settled

F = np.float32
PARAMS = {"layers": [{"w": np.linspace(-1, 1, 12, dtype=F).reshape(4, 3), "b": np.linspace(0, 1, 3, dtype=F)}, None],
          "scale": np.asarray(0.5, F), "empty": np.zeros((0, 3), F), 7: (np.linspace(2, 3, 130, dtype=F),)}  # fmt: skip
LABELS = {"layers": "a", "scale": "b", "empty": "b", 7: "b"}

TRANSFORMATIONS = {
    "adamw": uniopt.adamw(1e-2),
    "no state": uniopt.sgd(0.1),
    "adafactor": uniopt.adafactor(1e-2, min_dim_size_to_factor=2),
    "noise": uniopt.chain(uniopt.add_noise(0.1, 0.55, 3), uniopt.rmsprop(1e-2, momentum=0.9)),
    "partition": uniopt.partition({"a": uniopt.adamw(1e-2), "b": uniopt.sgd(0.1, momentum=0.9)}, LABELS),
    "injected": uniopt.inject_hyperparams(uniopt.adam)(learning_rate=uniopt.linear_schedule(0.1, 0.0, 5)),
    "accumulated": uniopt.MultiSteps(uniopt.named_chain(("clip", uniopt.clip_by_global_norm(1.0)),
                                                        ("lion", uniopt.lion(1e-3))), 2),
}  # fmt: skip


def on(backend: Backend, tree: Any = PARAMS) -> Any:
    return uniopt.tree.map(backend.from_numpy, tree)


def run(tx: Any, params: Any, state: Any, steps: range) -> tuple[Any, Any]:
    """Return parameters and state after some steps, with gradients that follow from their number."""
    backend = registry.backend_of(params["scale"])
    for k in steps:
        grads = on(backend, uniopt.tree.map(lambda x, k=k: np.asarray(np.cos(7 * x + k), x.dtype), PARAMS))
        updates, state = tx.update(grads, state, params)
        params, state = settled((uniopt.apply_updates(params, updates), state), backend)
    return params, state


def bits(tree: Any) -> list[Any]:
    """Return path, dtype, shape and bytes of each array, and the other leaves, with no word of the library."""
    found: list[Any] = []
    for path, x in uniopt.tree.leaves_with_paths(tree, ""):
        backend = registry.find(type(x))
        if backend is None:
            found.append((path, x))
            continue
        values = backend.to_numpy(x)
        found.append((path, dtype_name(x.dtype).removesuffix("_"), tuple(x.shape), values.tobytes()))
    return found
