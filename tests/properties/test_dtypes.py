"""dtype, device and type of every leaf stay as they are, step after step; so do those of the state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import float64, require
from tests.properties.problems import (
    ONE_EACH,
    STATEFUL,
    Case,
    gradients,
    moved,
    parameters,
    rules_first,
    small_tree,
    walk,
)
from uniopt.errors import UnsupportedDtypeError

REAL = ("float16", "bfloat16", "float32", "float64")
LACKING = {("array_api_strict", "float16"), ("array_api_strict", "bfloat16"), ("dask", "bfloat16"), ("dask", "float16")}
"""What a library does not have, by its own documentation."""


def outline(tree: Any, backend: Backend) -> list[tuple[str, str, type, tuple[int, ...], Any]]:
    """Return path, dtype, type, shape and device of each leaf."""
    return [
        (path, dtype_name(x.dtype), type(x), tuple(x.shape), backend.device(x))
        for path, x in uniopt.tree.leaves_with_paths(tree, "")
    ]


def dtypes(tree: Any) -> set[str]:
    return {dtype_name(x.dtype) for x in uniopt.tree.leaves(tree)}


def check_outlines(backend: Backend, tx: Any, params: Any, stream: list[Any]) -> None:
    wanted, wanted_state = outline(params, backend), outline(tx.init(params), backend)
    for updates, state, new in walk(tx, params, stream, backend):
        assert outline(updates, backend) == wanted
        assert outline(new, backend) == wanted
        assert outline(state, backend) == wanted_state


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("case", rules_first(STATEFUL), ids=str)
def test_leaves_and_state_keep_dtype_device_and_type(backend: Backend, case: Case, dtype: str) -> None:
    with float64(backend.name if dtype == "float64" else ""):
        if (backend.name, dtype) in LACKING:
            with pytest.raises(UnsupportedDtypeError, match=f"{backend.name} has no dtype '{dtype}'"):
                backend.dtype(dtype)
            return
        params = moved(parameters(1, tree=small_tree), backend, dtype)
        check_outlines(
            backend, case.build(), params, [moved(g, backend, dtype) for g in gradients(2, 3, tree=small_tree)]
        )


@pytest.mark.parametrize(("params_dtype", "grads_dtype"), [("bfloat16", "float32"), ("float32", "bfloat16")])
@pytest.mark.parametrize("case", rules_first(STATEFUL), ids=str)
@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx"])
def test_gradients_of_another_dtype(name: str, case: Case, params_dtype: str, grads_dtype: str) -> None:
    backend = require(name)
    params = moved(parameters(1, tree=small_tree), backend, params_dtype)
    check_outlines(
        backend, case.build(), params, [moved(g, backend, grads_dtype) for g in gradients(2, 3, tree=small_tree)]
    )


@pytest.mark.parametrize(("params_dtype", "grads_dtype"), [("bfloat16", "float32"), ("float32", "bfloat16")])
@pytest.mark.parametrize(
    "case", [case for case in STATEFUL if case.optimizer in ("adam", "amsgrad", "rmsprop", "sgd")], ids=str
)
@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx"])
def test_gradients_of_another_dtype_without_parameters(
    name: str, case: Case, params_dtype: str, grads_dtype: str
) -> None:
    backend = require(name)
    tx = case.build()
    state = tx.init(moved(parameters(1, tree=small_tree), backend, params_dtype))
    wanted = outline(state, backend)
    for grads_np in gradients(2, 3, tree=small_tree):
        updates, state = tx.update(moved(grads_np, backend, grads_dtype), state)
        assert dtypes(updates) == {grads_dtype}
        assert outline(state, backend) == wanted


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx"])
def test_sixteen_bit_leaves_are_computed_in_float32(name: str, dtype: str) -> None:
    # In 16 bits b2 = 0.999 would be 1 (bfloat16) and eps = 1e-8 would be 0 (float16): both give NaN.
    backend = require(name)
    tx = uniopt.adam(0.1)
    one, zero = (backend.from_numpy(np.full(3, value, np.float32), dtype) for value in (1.0, 0.0))
    params = {"one": one, "zero": zero}
    state = tx.init(params)
    adam_state = state[0]
    assert dtypes((adam_state.mu, adam_state.nu)) == {"float32"}
    for _ in range(100):
        updates, state = tx.update({"one": one, "zero": zero}, state, params)
    nu = backend.to_numpy(state[0].nu["one"])
    np.testing.assert_allclose(nu, 1 - 0.999**100, rtol=1e-5)
    np.testing.assert_array_equal(backend.to_numpy(updates["zero"]), 0)
    np.testing.assert_allclose(backend.to_numpy(updates["one"]).astype(np.float32), -0.1, rtol=2**-8)


def test_float64_is_refused_by_jax_without_x64() -> None:
    with pytest.raises(UnsupportedDtypeError, match="jax_enable_x64"):
        require("jax").dtype("float64")


@pytest.mark.usefixtures("x64")
def test_float64_is_there_with_x64() -> None:
    assert require("jax").dtype("float64") == np.float64


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_mixed_dtypes_in_one_tree(backend: Backend, case: Case) -> None:
    names = [name for name in REAL if (backend.name, name) not in LACKING]
    with float64(backend.name):
        params = [backend.from_numpy(np.linspace(-1, 1, 4), name) for name in names]
        check_outlines(backend, case.build(), params, [params] * 3)


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_numpy_scalars_stay_scalars(case: Case) -> None:
    params = {"a": np.float32(1.5), "b": np.float64(2.5), "c": np.float16(0.5)}
    grads = {"a": np.float32(0.5), "b": np.float64(-0.5), "c": np.float16(1.0)}
    check_outlines(require("numpy"), case.build(), params, [grads] * 3)


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_zero_dimensional_numpy_arrays_stay_arrays(case: Case) -> None:
    params = {"a": np.asarray(1.5), "b": np.asarray(1.5, dtype=np.float32)}
    check_outlines(require("numpy"), case.build(), params, [params] * 3)


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_python_numbers_are_leaves(backend: Backend, case: Case) -> None:
    """A number is computed as a 0-d array of the tree's library."""
    tx = case.build()
    array = backend.from_numpy(np.asarray([0.5, -0.5], dtype=np.float32))
    number = backend.from_numpy(np.asarray(0.5, dtype=np.float32))
    params, grads = {"a": array, "n": 0.5}, {"a": array, "n": number}
    expected, _ = tx.update({"a": array, "n": number}, tx.init({"a": array, "n": number}), {"a": array, "n": number})
    state = tx.init(params)
    for step in range(2):
        updates, state = tx.update(grads, state, params)
        if step == 0:
            np.testing.assert_allclose(backend.to_numpy(updates["n"]), backend.to_numpy(expected["n"]), rtol=1e-6)
        params = uniopt.apply_updates(params, updates)
        assert isinstance(params["n"], (float, type(number)))
    assert float(params["n"]) < 0.5


def test_a_tree_of_numbers_alone() -> None:
    tx = uniopt.adam(0.1)
    params = {"x": 1.0, "y": (2.0, 3)}
    updates, state = tx.update({"x": 1.0, "y": (-1.0, 0.5)}, tx.init(params), params)
    new = uniopt.apply_updates(params, updates)
    np.testing.assert_allclose([new["x"], *new["y"]], [0.9, 2.1, 2.9])
    assert state[0].count == 1


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_torch_parameters_stay_parameters_without_grad(case: Case) -> None:
    import torch

    backend = require("torch")
    module = torch.nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    params = dict(module.named_parameters())
    tx = case.build()
    state = tx.init(params)
    assert not any(isinstance(x, torch.nn.Parameter) or x.requires_grad for x in uniopt.tree.leaves(state))
    with torch.no_grad():
        for _ in range(3):
            grads = {name: torch.ones_like(p) for name, p in params.items()}
            updates, state = tx.update(grads, state, params)
            assert {type(x) for x in uniopt.tree.leaves(updates)} == {torch.Tensor}
            params = uniopt.apply_updates(params, updates)
            assert {type(x) for x in params.values()} == {torch.nn.Parameter}
            assert {name: p.requires_grad for name, p in params.items()} == {"weight": True, "bias": False}
    assert backend.to_numpy(params["weight"]).shape == (2, 3)


def test_torch_updates_carry_the_graph_with_grad() -> None:
    import torch

    p = torch.nn.Parameter(torch.ones(3))
    tx = uniopt.sgd(0.5)
    updates, _ = tx.update({"p": 2 * p}, tx.init({"p": p}), {"p": p})
    new = uniopt.apply_updates({"p": p}, updates)
    new["p"].sum().backward()
    assert torch.equal(p.grad, torch.zeros(3))  # p - 0.5 * 2p


def test_mu_dtype_is_kept(backend: Backend) -> None:
    narrow = "float32" if (backend.name, "bfloat16") in LACKING else "bfloat16"
    with float64(backend.name):
        tx = uniopt.adam(1e-2, mu_dtype=narrow)
        params = moved(parameters(1, tree=small_tree), backend, "float64")
        stream = [moved(g, backend, "float64") for g in gradients(2, 3, tree=small_tree)]
        check_outlines(backend, tx, params, stream)
        state = tx.init(params)[0]
        assert dtypes(state.mu) == {narrow}
        assert dtypes(state.nu) == {"float64"}
