"""Sharded parameters: the same numbers as on one device, and slots that lie like the parameters."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from uniopt.conformance.settings import SETTINGS, Written

import uniopt

SHAPES = {"w": (8, 6), "b": (4,)}


def build(name: str) -> uniopt.GradientTransformation:
    hyper = next(iter(SETTINGS[name].values()))
    small = {"min_dim_size_to_factor": 2} if name == "adafactor" else {}
    made = {key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()}
    return getattr(uniopt, name)(**made, **small)


def three_steps(name: str, put: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    tx = build(name)
    params = {key: put(rng.standard_normal(shape).astype(np.float32)) for key, shape in SHAPES.items()}
    state = tx.init(params)
    for _ in range(3):
        grads = {key: put(rng.standard_normal(shape).astype(np.float32)) for key, shape in SHAPES.items()}
        updates, state = tx.update(grads, state, params, value=jax.numpy.ones(()))
        params = uniopt.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("name", SETTINGS)
def test_jax_arrays_over_four_devices(name: str) -> None:
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("data",))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    params, state = three_steps(name, lambda x: jax.device_put(x, rows))
    expected, _ = three_steps(name, lambda x: jax.device_put(x, jax.devices()[0]))
    for key in SHAPES:
        assert params[key].sharding.is_equivalent_to(rows, params[key].ndim)
        largest = float(np.max(np.abs(np.asarray(expected[key]))))
        assert np.max(np.abs(np.asarray(params[key]) - np.asarray(expected[key]))) <= 4 * np.spacing(
            np.float32(largest)
        )
    for path, slot in uniopt.tree.leaves_with_paths(state, "state"):
        if any(slot.shape == shape and f"['{key}']" in path for key, shape in SHAPES.items()):
            assert slot.sharding.is_equivalent_to(rows, slot.ndim), path
