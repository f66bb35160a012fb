"""`uniopt.compile` on the libraries that have a compiler of their own, or none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.conftest import require
from tests.fusion.walks import build, copied, eager, gradients, normal, objective, odd_tree

LIBRARIES = ["jax", "mlx", "dask", "array_api_strict"]


def moved(tree: Any, backend: Backend) -> Any:
    return uniopt.tree.map(backend.from_numpy, tree)


def host(tree: Any, backend: Backend) -> list[Any]:
    return [backend.to_numpy(x) for x in uniopt.tree.leaves(tree)]


def check(library: str, name: str, donate: bool, steps: int = 3) -> None:
    backend, tx = require(library), build(name)
    start, stream = odd_tree(normal(name, "float32")), gradients(name, "float32", steps)
    params = moved(start, backend)
    state, step = tx.init(params), uniopt.compile(tx, donate=donate)
    for k, (expected, expected_state) in enumerate(eager(tx, copied(start), stream, steps)):
        params, state = step(moved(stream[k], backend), state, params, value=objective(k))
        for x, y in zip(host((params, state), backend), uniopt.tree.leaves((expected, expected_state)), strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            unit = np.spacing(np.max(np.abs(y), initial=1.0).astype(y.dtype)) if y.dtype.kind == "f" else 0.0
            assert np.max(np.abs(x.astype(np.float64) - y), initial=0.0) <= 64 * unit, f"step {k}"


@pytest.mark.parametrize("donate", [True, False])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["adamw", "lamb", "polyak_sgd", "sgd"])
def test_steps_are_the_eager_ones(name: str, library: str, donate: bool) -> None:
    check(library, name, donate)


@pytest.mark.wide
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_optimizer(name: str, library: str) -> None:
    check(library, name, donate=True, steps=1 if library in ("dask", "array_api_strict") else 2)


# JAX


@pytest.mark.parametrize("donate", [True, False])
def test_jax_deletes_what_is_donated(donate: bool) -> None:
    backend, tx = require("jax"), uniopt.adamw(0.1)
    params, grads = moved({"w": np.ones(3, np.float32)}, backend), moved({"w": np.ones(3, np.float32)}, backend)
    state = tx.init(params)
    step = uniopt.compile(tx, donate=donate)
    after, next_state = step(grads, state, params)
    assert params["w"].is_deleted() == donate
    assert state[0].mu["w"].is_deleted() == donate
    assert not grads["w"].is_deleted()
    assert not after["w"].is_deleted()
    assert not next_state[0].mu["w"].is_deleted()
    step(grads, next_state, after)  # what was returned can be donated in its turn


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_array_in_several_places(library: str) -> None:
    """As a parameter under two names, as its own gradient, and in the state, where JAX donates its memory."""
    backend, tx = require(library), uniopt.sgd(0.5, momentum=0.5)
    w = backend.from_numpy(np.asarray([1.0, 2.0], np.float32))
    params = {"a": w, "b": w}
    state, step = uniopt.tree.map(lambda x: w, tx.init(params)), uniopt.compile(tx)
    params, state = step(params, state, params)
    assert [x.tolist() for x in host((params, state), backend)] == [[0.25, 0.5]] * 2 + [[1.5, 3.0]] * 2
    params, state = step({"a": params["a"], "b": state[0].trace["b"]}, state, params)
    assert [x.tolist() for x in host(params, backend)] == [[-0.25, -0.5], [-0.875, -1.75]]


def test_jax_compiles_once() -> None:
    traces = []

    def schedule(count: Any) -> Any:
        traces.append(1)
        return 0.5 / (count + 1)

    backend, tx = require("jax"), uniopt.chain(uniopt.scale_by_polyak(), uniopt.scale_by_learning_rate(schedule))
    params = moved({"w": np.ones(3, np.float32)}, backend)
    grads = {"w": np.ones(3, np.float32)}
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(5):
        params, state = step(moved(grads, backend), state, params, value=1.5 + k)
    assert len(traces) == 1


def test_jax_inside_of_its_own_jit() -> None:
    import jax

    tx = uniopt.adamw(0.1)
    step = uniopt.compile(tx)

    @jax.jit
    def train(params: Any, state: Any) -> Any:
        return step(params, state, params)

    params = {"w": jax.numpy.ones(3)}
    after, _ = train(params, tx.init(params))
    updates, _ = tx.update(params, tx.init(params), params)
    assert np.allclose(after["w"], uniopt.apply_updates(params, updates)["w"])


# Dask


def test_dask_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    backend, tx = require("dask"), uniopt.lamb(0.1)
    params, grads = ({"w": backend.from_numpy(np.ones(6, np.float32)).rechunk(2)} for _ in range(2))
    state, step = tx.init(params), uniopt.compile(tx)

    def scheduler(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=scheduler):
        for _ in range(2):
            params, state = step(grads, state, params)
    assert params["w"].chunks == ((2, 2, 2),)
    assert np.isfinite(params["w"].compute()).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_gradients(library: str) -> None:
    backend, tx = require(library), uniopt.adamw(0.5)
    start = {"a": np.ones(3, np.float32), "b": np.ones(2, np.float32)}
    params = moved(start, backend)
    state, step = tx.init(params), uniopt.compile(tx)
    for grads in ({"a": None, "b": np.ones(2, np.float32)}, {"a": None, "b": None}, start):
        before = host(params, backend)
        params, state = step(moved(grads, backend), state, params)
        for x, y, g in zip(host(params, backend), before, (grads["a"], grads["b"]), strict=True):
            assert np.array_equal(x, y) == (g is None)
