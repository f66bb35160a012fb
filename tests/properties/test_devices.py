"""Several devices in one tree; sharded arrays keep their sharding, in the state and in the updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import require
from tests.processes import run_together
from tests.properties.error_unit import ulps
from tests.properties.problems import ONE_EACH, Case, host, moved, rules_first, trajectory

F = np.float32
NOISY = Case("noisy_sgd", {"learning_rate": 0.1, "eta": 0.01})
CASES = rules_first([*ONE_EACH, NOISY])


def start() -> Any:
    return {"a": np.linspace(-1, 1, 8, dtype=F), "b": np.linspace(2, 3, 16, dtype=F).reshape(8, 2)}


def stream(steps: int = 3) -> list[Any]:
    return [uniopt.tree.map(lambda x, k=k: np.cos(7 * x + k).astype(F), start()) for k in range(steps)]


def check_devices(name: str, case: Case, devices: list[Any]) -> None:
    """Leaves on different devices stay there, with their slots, and move as on one device."""
    backend = require(name)
    tx = case.build()

    def spread(tree: Any) -> Any:
        return {k: backend.from_numpy(x, device=device) for (k, x), device in zip(tree.items(), devices, strict=True)}

    params = spread(start())
    wanted = {k: backend.device(x) for k, x in params.items()}
    assert wanted["a"] != wanted["b"]
    state = tx.init(params)
    steps = [uniopt.tree.leaves(start())]
    for grads in stream():
        updates, state = tx.update(spread(grads), state, params)
        params = uniopt.apply_updates(params, updates)
        steps.append(uniopt.tree.leaves(host(params, backend)))
        assert {k: backend.device(x) for k, x in params.items()} == wanted
        assert {k: backend.device(x) for k, x in updates.items()} == wanted
        for path, x in uniopt.tree.leaves_with_paths(state, ""):
            assert backend.device(x) == wanted["b" if path.endswith("['b']") else "a"], path
    # The devices without float64 compute the bias correction in float32.
    worst = ulps(steps, trajectory(tx, start(), stream(), backend))
    assert worst.value <= 4, worst


OF_THE_WHOLE_TREE = {
    "reduce_on_plateau": lambda: uniopt.reduce_on_plateau(0.5, patience=1),
    "reduce_on_plateau, injected": lambda: uniopt.inject_hyperparams(uniopt.reduce_on_plateau)(0.5, patience=1),
    "apply_if_finite": lambda: uniopt.apply_if_finite(uniopt.adam(0.125), 2),
    "clip_by_global_norm": lambda: uniopt.clip_by_global_norm(1.0),
    "dynamic_loss_scaling": lambda: uniopt.dynamic_loss_scaling(uniopt.adam(0.125)),
    "inject_hyperparams": lambda: uniopt.inject_hyperparams(uniopt.MultiSteps)(uniopt.adam(0.125), 2),
    "mechanize": lambda: uniopt.mechanize(uniopt.sgd(0.125)),
    "polyak_sgd": uniopt.polyak_sgd,
}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
@pytest.mark.parametrize("name", OF_THE_WHOLE_TREE)
def test_numbers_of_the_whole_tree(name: str, order: tuple[int, int]) -> None:
    """They are where the leaves with the widest dtype are, which need not be the first ones."""
    import array_api_strict as xp

    devices = [xp.Device("CPU_DEVICE"), xp.Device("device1")]
    tx = OF_THE_WHOLE_TREE[name]()

    def tree(k: int, places: tuple[int, int]) -> Any:
        a, b = (devices[i] for i in places)
        return {
            "a": xp.asarray([1.0, -2.0 - k], dtype=xp.float32, device=a),
            "b": xp.asarray([3.0 + k, 0.5], dtype=xp.float64, device=b),
        }

    found = []
    for places in (order, (0, 0)):
        params = tree(0, places)
        state = tx.init(params)
        for k in range(3):
            updates, state = tx.update(tree(k, places), state, params, value=2.0)
            params = uniopt.apply_updates(params, updates)
        found.append([np.asarray(x.to_device(devices[0])) for x in uniopt.tree.leaves(params)])
    for x, y in zip(*found, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_strict_devices(case: Case, order: tuple[int, int]) -> None:
    import array_api_strict

    names = ["CPU_DEVICE", "device1", "device2"]
    check_devices("array_api_strict", case, [array_api_strict.Device(names[i]) for i in order])


@pytest.mark.parametrize("order", [(0, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_jax_devices(case: Case, order: tuple[int, int]) -> None:
    import jax

    assert len(jax.devices()) == 4
    check_devices("jax", case, [jax.devices()[i] for i in order])


def test_a_device_without_float64() -> None:
    import array_api_strict as xp

    narrow = xp.Device("no_float64")
    params = {"w": xp.asarray([1.0, 2.0], dtype=xp.float32, device=narrow)}
    tx = uniopt.adamw(uniopt.warmup_cosine_decay_schedule(0.1, 1.0, 2, 4))
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state, params)
        params = uniopt.apply_updates(params, updates)
    assert {x.device for x in uniopt.tree.leaves((params, updates, state))} == {narrow}


def test_hyperparameters_are_brought_to_the_leaves() -> None:
    import array_api_strict as xp

    rate = xp.asarray(0.5, dtype=xp.float32, device=xp.Device("device1"))
    params = {"w": xp.asarray([1.0], dtype=xp.float32, device=xp.Device("device2"))}
    updates, _ = uniopt.sgd(rate).update(params, uniopt.sgd(rate).init(params), params)
    assert updates["w"].device == xp.Device("device2")


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_jax_shardings_are_kept(case: Case, jitted: bool) -> None:
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    backend = require("jax")
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    shardings = {"a": NamedSharding(mesh, PartitionSpec("x")), "b": NamedSharding(mesh, PartitionSpec("x", None))}

    def shard(tree: Any) -> Any:
        return jax.device_put(moved(tree, backend), shardings)

    tx = case.build()
    params = shard(start())
    state = tx.init(params)
    update = jax.jit(tx.update) if jitted else tx.update
    apply = jax.jit(uniopt.apply_updates) if jitted else uniopt.apply_updates
    steps = [uniopt.tree.leaves(start())]

    def check(tree: Any, *, scalars: bool) -> None:
        for path, x in uniopt.tree.leaves_with_paths(tree, ""):
            if path.endswith(("['a']", "['b']")):
                assert x.sharding.is_equivalent_to(shardings[path[-3]], x.ndim), path
            else:
                assert scalars
                assert x.sharding.is_fully_replicated
                assert x.sharding.device_set == mesh_devices

    mesh_devices = set(mesh.devices.flat)
    check(state, scalars=True)
    for grads in stream():
        updates, state = update(shard(grads), state, params)
        params = apply(params, updates)
        steps.append(uniopt.tree.leaves(host(params, backend)))
        check(updates, scalars=False)
        check(params, scalars=False)
        check(state, scalars=True)
    worst = ulps(steps, trajectory(tx, start(), stream(), backend))
    assert worst.value <= 4, worst


def run_dtensor(processes: int, folder: Path) -> None:
    """Run dtensor.py, which holds the checks."""
    run_together(Path(__file__).parent / "dtensor.py", processes, folder, ends_with="placements kept")


def test_torch_dtensor_placements_are_kept(tmp_path: Path) -> None:
    run_dtensor(1, tmp_path)


@pytest.mark.slow
def test_torch_dtensor_placements_are_kept_across_processes(tmp_path: Path) -> None:
    run_dtensor(2, tmp_path)
