"""The table of a state says what is there: arrays, shapes, dtypes, bytes and devices."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
from uniopt.backends.protocol import Backend

import uniopt


def test_table() -> None:
    params = {f"layer{i}": np.zeros((i, 2), np.float32) for i in range(1, 8)}
    lines = str(uniopt.summary(uniopt.adam(0.1, mu_dtype="float16").init(params))).splitlines()
    assert lines[0].split() == ["slot", "arrays", "shapes", "dtypes", "bytes", "devices"]
    assert lines[2].split() == ["[0]ScaleByAdamState.count", "1", "()", "int32", "4", "cpu"]
    assert lines[3].startswith("[0]ScaleByAdamState.mu")
    assert "7  (1, 2), (2, 2), (3, 2), (4, 2), 3 more  float16" in lines[3]
    assert lines[-1].split() == ["total", "15", "int32,", "float16,", "float32", "340", "cpu"]


def test_every_library(backend: Backend) -> None:
    params = {"w": backend.from_numpy(np.ones((2, 3), np.float32)), "n": None}
    found = uniopt.summary(uniopt.chain(uniopt.trace(0.9), uniopt.scale_by_adam()).init(params))
    assert [(leaf.path, leaf.shape, leaf.dtype, leaf.bytes) for leaf in found.leaves] == [
        ("[0]TraceState.trace['w']", (2, 3), "float32", 24),
        ("[1]ScaleByAdamState.count", (), "int32", 4),
        ("[1]ScaleByAdamState.mu['w']", (2, 3), "float32", 24),
        ("[1]ScaleByAdamState.nu['w']", (2, 3), "float32", 24),
    ]
    assert [leaf.slot for leaf in found.leaves][2] == "[1]ScaleByAdamState.mu"
    assert found.bytes == 76
    assert "total" in str(found)


def test_states_of_optax_traced_ones_and_other_trees() -> None:
    import jax
    import jax.numpy as jnp
    import optax

    seen: list[Any] = []
    state = optax.chain(optax.add_noise(1.0, 0.5, jax.random.key(0)), optax.adam(0.1)).init({"w": jnp.ones(3)})
    jax.jit(lambda state: seen.append(uniopt.summary(state)))(state)
    for found in (uniopt.summary(state), *seen):
        assert [leaf.dtype for leaf in found.leaves] == ["int32", "key<fry>", "int32", "float32", "float32"]
    assert seen[0].leaves[0].device == ""
    plain = uniopt.summary({"a": [np.ones(2)], "b": 1.0, "c": "text", "d": None})
    assert [(leaf.path, leaf.slot) for leaf in plain.leaves] == [("['a'][0]", "['a'][0]")]
    assert str(uniopt.summary(())).splitlines()[-1].split() == ["total", "0", "0"]


def test_arrays_on_several_devices() -> None:
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    mesh = jax.make_mesh((2,), ("x",), devices=jax.devices()[:2])
    x = jax.device_put(np.ones((4, 2), np.float32), NamedSharding(mesh, PartitionSpec("x")))
    (leaf,) = uniopt.summary({"w": x}).leaves
    assert leaf.device.count(",") == 1
    assert leaf.bytes == 32


def test_no_library_is_loaded_for_it() -> None:
    code = (
        "import sys, numpy as np, uniopt; str(uniopt.summary(uniopt.adam(0.1).init(np.ones(2)))); "
        "print([m for m in ('torch', 'jax', 'mlx', 'dask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]
