"""A state that was saved on one library is loaded onto another one, on its devices, with its sharding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name

import uniopt
from tests.checkpoints.states import TRANSFORMATIONS, bits, on, run
from tests.conftest import EVERYWHERE, require


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Path, Any]]:
    """Files and bits of the state of each transformation after some steps on each library."""
    folder = tmp_path_factory.mktemp("saved")
    found = {}
    for library in EVERYWHERE:
        start = on(require(library))
        for name, tx in TRANSFORMATIONS.items():
            _, state = run(tx, start, tx.init(start), range(2))
            path = folder / f"{library} {name}"
            uniopt.save(path, state, tx)
            found[library, name] = path, bits(state)
    return found


def scalar_of(like: Any, path: str, dtype: str, shape: tuple[int, ...], values: bytes) -> Any:
    """Return a leaf as it is, but an injected hyperparameter in the dtype that it has in `like`."""
    if "hyperparams" not in path:
        return path, dtype, shape, values
    wanted = next(dtype for found, dtype, *_ in bits(like) if found == path)
    return path, wanted, shape, np.frombuffer(values, dtype).astype(wanted).tobytes()


@pytest.mark.parametrize("target", EVERYWHERE)
@pytest.mark.parametrize("source", EVERYWHERE)
def test_every_pair_of_libraries(source: str, target: str, saved: dict[tuple[str, str], tuple[Path, Any]]) -> None:
    params = on(require(target))
    for name, tx in TRANSFORMATIONS.items():
        path, expected = saved[source, name]
        like = tx.init(params)
        loaded = uniopt.load(path, like=like)
        assert bits(loaded) == [scalar_of(like, *leaf) for leaf in expected], name
        assert [type(x) for x in uniopt.tree.leaves(loaded)] == [type(x) for x in uniopt.tree.leaves(like)]
        run(tx, params, loaded, range(2, 3))


def test_no_dtype_is_narrowed_but_where_there_is_no_other(tmp_path: Path) -> None:
    import jax.numpy as jnp

    third = np.asarray(1 / 3)
    uniopt.save(tmp_path / "wide", {"x": third})
    assert uniopt.load(tmp_path / "wide", like={"x": jnp.asarray(0.0)})["x"] == np.float32(third)
    for like in (np.asarray(0, np.float32), jnp.asarray(0, jnp.float16), jnp.asarray([0.0]), jnp.asarray(0)):
        with pytest.raises(uniopt.errors.StateError, match="float64 of shape"):
            uniopt.load(tmp_path / "wide", like={"x": like})
    uniopt.save(tmp_path / "narrow", {"x": third.astype(np.float32)})
    assert uniopt.load(tmp_path / "narrow", like={"x": np.asarray(0.0)})["x"] == np.float32(third)
    uniopt.save(tmp_path / "matrix", {"x": np.ones(2)})
    with pytest.raises(uniopt.errors.StateError, match="float64 of shape"):
        uniopt.load(tmp_path / "matrix", like={"x": jnp.ones(2)})


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "mlx"])
@pytest.mark.parametrize("source", ["numpy", "torch", "jax", "mlx"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_between_libraries(source: str, target: str, dtype: str, tmp_path: Path) -> None:
    values = np.asarray([0.1, -3.0, 1e-7], np.float32)
    here, there = require(source), require(target)
    x = here.from_numpy(values, dtype)
    uniopt.save(tmp_path / "file", {"x": x})
    loaded = uniopt.load(tmp_path / "file", like={"x": there.from_numpy(0 * values, dtype)})["x"]
    assert dtype_name(loaded.dtype) == dtype
    assert there.to_numpy(loaded).tolist() == here.to_numpy(x).tolist()


def test_a_state_of_optax_becomes_one_of_uniopt(tmp_path: Path) -> None:
    import jax.numpy as jnp
    import optax

    tx = optax.adam(0.1)
    state = tx.init({"w": jnp.zeros(2)})
    _, state = tx.update({"w": jnp.ones(2)}, state)
    uniopt.save(tmp_path / "file", state, tx)
    loaded = uniopt.load(tmp_path / "file", like=uniopt.adam(0.1).init({"w": np.zeros(2, np.float32)}))
    assert type(loaded[0]) is uniopt.ScaleByAdamState
    assert bits(loaded[0].mu) == bits(state[0].mu)


def test_the_device_is_that_of_like(tmp_path: Path) -> None:
    import array_api_strict as xp
    import jax

    values = np.arange(4, dtype=np.float32)
    uniopt.save(tmp_path / "file", {"x": values})
    other = xp.Device("device1")
    loaded = uniopt.load(tmp_path / "file", like={"x": xp.zeros(4, dtype=xp.float32, device=other)})
    assert loaded["x"].device == other
    like = {"x": jax.device_put(np.zeros(4, np.float32), jax.devices()[2])}
    assert uniopt.load(tmp_path / "file", like=like)["x"].devices() == {jax.devices()[2]}


def test_arrays_that_lie_elsewhere_are_saved(tmp_path: Path) -> None:
    import array_api_strict as xp
    import torch

    x = torch.arange(3.0, requires_grad=True)
    y = xp.asarray([1.0, 2.0], device=xp.Device("device2"))
    uniopt.save(tmp_path / "file", {"x": x, "y": y, "z": torch.tensor([1 + 2j]).conj()})
    loaded = uniopt.load(tmp_path / "file")
    assert loaded["['x']"].tolist() == [0, 1, 2]
    assert loaded["['y']"].tolist() == [1, 2]
    assert loaded["['z']"].tolist() == [1 - 2j]


def test_sharding_is_that_of_like(tmp_path: Path) -> None:
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    mesh = jax.make_mesh((4,), ("x",))
    w = jax.device_put(np.arange(8, dtype=np.float32).reshape(8, 1), NamedSharding(mesh, PartitionSpec("x")))
    tx = uniopt.adam(0.1)
    _, state = tx.update({"w": w}, tx.init({"w": w}))
    uniopt.save(tmp_path / "file", state)
    like = tx.init({"w": w})
    loaded = uniopt.load(tmp_path / "file", like=like)
    assert bits(loaded) == bits(state)
    assert [x.sharding for x in uniopt.tree.leaves(loaded)] == [x.sharding for x in uniopt.tree.leaves(like)]
    assert len(loaded[0].mu["w"].addressable_shards) == 4
    plain = uniopt.load(tmp_path / "file", like=tx.init({"w": np.zeros((8, 1), np.float32)}))
    assert bits(plain) == bits(state)


def test_chunks_are_those_of_like(tmp_path: Path) -> None:
    import dask.array as da

    uniopt.save(tmp_path / "file", {"x": np.arange(6.0)})
    loaded = uniopt.load(tmp_path / "file", like={"x": da.zeros(6, chunks=2)})
    assert loaded["x"].chunks == ((2, 2, 2),)
    assert loaded["x"].compute().tolist() == [0, 1, 2, 3, 4, 5]


def test_dtensors_of_one_process(tmp_path: Path) -> None:
    """In a process of its own, since a process group belongs to the whole process."""
    program = f"""
import torch, uniopt
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

dist.init_process_group("gloo", init_method="file://{tmp_path}/rendezvous", rank=0, world_size=1)
x = distribute_tensor(torch.arange(6.0), init_device_mesh("cpu", (1,)), (Shard(0),))
tx = uniopt.adam(0.1)
_, state = tx.update({{"x": x}}, tx.init({{"x": x}}))
uniopt.save("{tmp_path}/file", state)
loaded = uniopt.load("{tmp_path}/file", like=tx.init({{"x": x}}))
assert isinstance(loaded[0].mu["x"], DTensor) and loaded[0].mu["x"].placements == (Shard(0),)
assert loaded[0].mu["x"].full_tensor().equal(state[0].mu["x"].full_tensor())
dist.destroy_process_group()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
