"""What holds for every optimizer: no NaN from zeros, dtypes that stay, skipped leaves, one compilation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends import get
from uniopt.backends.dtypes import dtype_name
from uniopt.conformance.settings import SETTINGS, Written

import uniopt

LIBRARIES = ["numpy", "torch", "jax", "mlx", "array_api_strict"]
HALVES = [("numpy", "float16"), ("numpy", "bfloat16"), ("torch", "float16"), ("torch", "bfloat16"), ("jax", "bfloat16")]


def build(name: str) -> uniopt.GradientTransformation:
    hyper = next(iter(SETTINGS[name].values()))
    return getattr(uniopt, name)(**{key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()})


def tree(make: Any) -> Any:
    return {"w": make((2, 3)), "b": [make(()), make((0, 2))]}


def on(backend: Any, dtype: str, value: float) -> Any:
    return tree(lambda shape: backend.from_numpy(np.full(shape, value), dtype))


def host(backend: Any, values: Any) -> list[Any]:
    return [backend.to_numpy(x) for x in uniopt.tree.leaves(values)]


def dtypes(values: Any) -> list[str]:
    return [dtype_name(x.dtype) for x in uniopt.tree.leaves(values)]


@pytest.mark.parametrize(("library", "dtype"), [*((name, "float32") for name in LIBRARIES), *HALVES])
@pytest.mark.parametrize("name", SETTINGS)
def test_zero_gradients_make_no_nan(name: str, library: str, dtype: str) -> None:
    backend, tx = get(library), build(name)
    for start in (1.0, 0.0):
        params = on(backend, dtype, start)
        state = tx.init(params)
        kept = dtypes(state)
        for _ in range(2):
            updates, state = tx.update(on(backend, dtype, 0.0), state, params, value=backend.xp.ones(()))
            params = uniopt.apply_updates(params, updates)
            assert dtypes(params) == dtypes(updates) == [dtype] * 3
            assert dtypes(state) == kept
        assert all(np.isfinite(x).all() for x in host(backend, params))


@pytest.mark.parametrize("name", SETTINGS)
def test_gradients_of_another_precision_change_no_dtype(name: str) -> None:
    backend, tx = get("torch"), build(name)
    for own, other in (("bfloat16", "float32"), ("float32", "bfloat16"), ("float32", "float64")):
        params = on(backend, own, 1.0)
        state = tx.init(params)
        kept = dtypes(state)
        updates, state = tx.update(on(backend, other, 0.5), state, params, value=backend.xp.ones(()))
        assert dtypes(updates) == [own] * 3
        assert dtypes(state) == kept


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_gradient_of_none_skips_its_leaf(name: str, library: str) -> None:
    backend, tx = get(library), build(name)
    params = on(backend, "float32", 1.0)
    state = tx.init(params)
    _, state = tx.update(on(backend, "float32", 0.5), state, params, value=backend.xp.ones(()))
    skipped = {**on(backend, "float32", 0.5), "b": None}
    updates, after = tx.update(skipped, state, params, value=backend.xp.ones(()))
    assert updates["b"] is None
    assert np.array_equal(backend.to_numpy(uniopt.apply_updates(params, updates)["b"][0]), np.float32(1.0))
    before_slots = dict(uniopt.tree.leaves_with_paths(state, "state"))
    for path, slot in uniopt.tree.leaves_with_paths(after, "state"):
        if "['b']" in path:
            assert np.array_equal(backend.to_numpy(slot), backend.to_numpy(before_slots[path])), path


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - {"polyak_sgd"}))  # which takes one norm of the whole tree
def test_nan_stays_in_its_leaf(name: str) -> None:
    tx = build(name)
    params = {"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}
    grads = {"a": np.asarray([np.nan, 1.0], np.float32), "b": np.ones(2, np.float32)}
    with np.errstate(all="ignore"):
        updates, _ = tx.update(grads, tx.init(params), params, value=np.ones(()))
    assert np.isnan(updates["a"][0])
    assert np.isfinite(updates["b"]).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_it_runs_under_jit_with_one_compilation(name: str) -> None:
    import jax

    backend, tx = get("jax"), build(name)
    traces = []

    @jax.jit
    def step(grads: Any, state: Any, params: Any, value: Any) -> Any:
        traces.append(1)
        updates, state = tx.update(grads, state, params, value=value)
        return uniopt.apply_updates(params, updates), state

    params = on(backend, "float32", 1.0)
    eager, state = params, tx.init(params)
    compiled, compiled_state = params, state
    for n in range(3):
        grads, value = on(backend, "float32", 0.5 + n), backend.xp.ones(())
        updates, state = tx.update(grads, state, eager, value=value)
        eager = uniopt.apply_updates(eager, updates)
        compiled, compiled_state = step(grads, compiled_state, compiled, value)
    assert len(traces) == 1
    for x, y in zip(host(backend, eager), host(backend, compiled), strict=True):
        assert np.allclose(x, y, rtol=1e-5, atol=0)
