"""The norm of a whole tree, and what is scaled by it: over devices, shards, libraries and dtypes."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
import torch
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import host, moved

F = np.float32
OF_NORM = [
    uniopt.clip_by_global_norm(2.0),
    uniopt.normalize(),
    uniopt.normalize_by_update_norm(3.0, 0.5),
]


def a_tree() -> Any:
    return {"a": np.linspace(-1, 1, 8, dtype=F), "b": np.linspace(2, 3, 16, dtype=F).reshape(8, 2)}


def exact_norm(tree: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.abs(np.asarray(x, np.complex128)) ** 2) for x in uniopt.tree.leaves(tree))))


def test_the_norm(backend: Backend) -> None:
    tree = {**a_tree(), "scalar": np.asarray(4.0, F), "nothing": np.zeros((0, 3), F)}
    found = uniopt.global_norm({**moved(tree, backend), "none": None})
    assert type(found) is type(backend.from_numpy(np.asarray(1.0, F)))
    assert tuple(found.shape) == ()
    assert dtype_name(found.dtype) == "float32"
    np.testing.assert_allclose(backend.to_numpy(found), exact_norm(tree), rtol=2e-7)


def test_dtypes() -> None:
    """Complex numbers count by their size, 16 bits are computed in float32, and the widest dtype is the norm's."""
    half = np.full(4, 300.0, np.float16)
    for leaves, dtype in (
        ([half], np.float32),
        ([half.astype(ml_dtypes.bfloat16), half], np.float32),
        ([np.asarray([3 + 4j], np.complex64)], np.float32),
        ([half, np.asarray([1e20 + 1e20j])], np.float64),
        ([a_tree()["a"], np.asarray(1e30)], np.float64),
    ):
        found = uniopt.global_norm(leaves)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, exact_norm(leaves), rtol=1e-6 if dtype == np.float32 else 1e-15)
        updates, _ = uniopt.clip_by_global_norm(1.0).update(leaves, uniopt.EmptyState())
        assert exact_norm(updates) == pytest.approx(1.0, rel=2e-2 if leaves[0].dtype == ml_dtypes.bfloat16 else 1e-3)


@pytest.mark.parametrize("nothing", [{}, None, {"w": None}, []])
def test_nothing_has_no_norm(nothing: Any) -> None:
    assert uniopt.global_norm(nothing) == 0.0
    for tx in OF_NORM:
        assert tx.update(nothing, tx.init(nothing), nothing)[0] == nothing


def test_errors() -> None:
    with pytest.raises(uniopt.errors.LeafError, match=r"tree\['i'\] has dtype int64"):
        uniopt.global_norm({"w": np.ones(2), "i": np.arange(2)})
    with pytest.raises(
        uniopt.errors.MixedLibrariesError, match=r"tree\['a'\] is an array of numpy, tree\['b'\] of torch"
    ):
        uniopt.global_norm({"a": np.ones(2), "b": torch.ones(2)})
    for make in (uniopt.clip_by_global_norm, uniopt.clip, lambda x: uniopt.normalize_by_update_norm(1.0, x)):
        with pytest.raises(uniopt.errors.HyperparameterError, match="not below 0"):
            make(-1.0)
    with pytest.raises(uniopt.errors.StateError, match="clip_by_global_norm was given a state TraceState"):
        uniopt.clip_by_global_norm(1.0).update({}, uniopt.TraceState(1))


def test_a_gradient_within_the_bound_keeps_its_bits(backend: Backend) -> None:
    grads = moved(a_tree(), backend)
    norm = float(backend.to_numpy(uniopt.global_norm(grads)))
    for bound in (norm, 1e9, np.inf):
        updates, _ = uniopt.clip_by_global_norm(bound).update(grads, uniopt.EmptyState())
        for x, y in zip(uniopt.tree.leaves(host(updates, backend)), uniopt.tree.leaves(a_tree()), strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_zeros_and_what_is_not_finite(bound: float) -> None:
    """NaN makes all leaves NaN; inf makes itself NaN and the others 0; zeros stay, where optax has 0 / 0."""
    tx = uniopt.clip_by_global_norm(bound)
    with np.errstate(divide="raise", invalid="raise"):
        updates, _ = tx.update({"a": np.zeros(2)}, uniopt.EmptyState())
        assert not updates["a"].any()
    for bad, other in ((np.nan, np.nan), (np.inf, 0.0)):
        with np.errstate(invalid="ignore"):
            updates, _ = tx.update({"a": np.asarray([bad, 1.0]), "b": np.ones(1)}, uniopt.EmptyState())
        np.testing.assert_array_equal(updates["a"], [np.nan, other])
        np.testing.assert_array_equal(updates["b"], [other])


def test_torch_shortens_a_little_more() -> None:
    """By 1e-6 that it adds to the norm, also where the norm equals the bound."""
    p = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    for length in (3.0, 1.0):
        p.grad = torch.tensor([0.6, 0.8], dtype=torch.float64) * length
        ours, _ = uniopt.clip_by_global_norm(1.0).update({"p": p.grad.clone()}, uniopt.EmptyState())
        torch.nn.utils.clip_grad_norm_([p], 1.0)
        torch.testing.assert_close(ours["p"].norm(), torch.tensor(1.0, dtype=torch.float64), rtol=1e-15, atol=0)
        torch.testing.assert_close(p.grad, ours["p"] * length / (length + 1e-6), rtol=1e-14, atol=0)


@pytest.mark.parametrize("tx", OF_NORM, ids=repr)
@pytest.mark.parametrize("name", ["array_api_strict", "jax"])
def test_devices(name: str, tx: uniopt.GradientTransformation) -> None:
    """Leaves on several devices, with and without float64, share one norm and stay where they are."""
    import array_api_strict

    backend = require(name)
    strict = [array_api_strict.Device(device) for device in ("CPU_DEVICE", "device1", "no_float64")]
    for devices in ((0, 1), (1, 0), (2, 1), (1, 2)):
        places = [(strict if name == "array_api_strict" else jax.devices())[i] for i in devices]

        def spread(tree: Any, places: Any = places) -> Any:
            return {
                key: backend.from_numpy(x, device=place) for (key, x), place in zip(tree.items(), places, strict=True)
            }

        grads = spread(a_tree())
        updates, _ = tx.update(grads, tx.init(grads))
        expected, _ = tx.update(a_tree(), tx.init(a_tree()))
        for key, x in updates.items():
            assert backend.device(x) == backend.device(grads[key])
            np.testing.assert_allclose(backend.to_numpy(x), expected[key], rtol=1e-6)
        assert backend.device(uniopt.global_norm(grads)) == backend.device(grads["a"])


@pytest.mark.parametrize("tx", OF_NORM, ids=repr)
def test_shards(tx: uniopt.GradientTransformation) -> None:
    """Sharded arrays stay sharded, and have the norm of the whole, eagerly and compiled."""
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("data",))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    grads = uniopt.tree.map(lambda x: jax.device_put(x, rows), a_tree())
    expected, _ = tx.update(a_tree(), tx.init(a_tree()))
    for update in (tx.update, jax.jit(tx.update)):
        updates, _ = update(grads, tx.init(grads))
        for key, x in updates.items():
            np.testing.assert_allclose(np.asarray(x), expected[key], rtol=1e-6)
            assert x.sharding.is_equivalent_to(rows, x.ndim)
    np.testing.assert_allclose(uniopt.global_norm(grads), exact_norm(a_tree()), rtol=1e-6)


@pytest.mark.parametrize("clip", [uniopt.per_example_global_norm_clip, uniopt.per_example_layer_norm_clip])
def test_examples_on_devices_and_in_shards(clip: Any) -> None:
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("data",))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    expected, counts = clip(a_tree(), 1.5)
    for places in ((rows, rows), tuple(jax.devices()[:2])):
        grads = {key: jax.device_put(x, place) for (key, x), place in zip(a_tree().items(), places, strict=True)}
        found, clipped = clip(grads, 1.5)
        for x, y in zip(uniopt.tree.leaves(found), uniopt.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)
        assert jax.tree.map(int, clipped) == jax.tree.map(int, counts)


def test_the_norm_has_a_derivative_at_zero() -> None:
    x = torch.zeros(3, requires_grad=True)
    uniopt.global_norm({"x": x}).backward()
    assert not x.grad.any()
