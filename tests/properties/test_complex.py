"""Complex gradients follow optax's convention: the direction is the gradient's, the second moment is real."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import float64, require
from tests.properties.error_unit import relative, ulps
from tests.properties.problems import Case, gradients, host, moved, parameters, seed_of, small_tree, trajectory, walk

STEPS = 20
CASES = [
    Case("sgd", {"learning_rate": 0.1}),
    Case("sgd", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    Case("adam", {"learning_rate": 1e-2}),
    Case("adamw", {"learning_rate": 1e-2, "weight_decay": 0.1}),
    Case("nadam", {"learning_rate": 1e-2}),
    Case("amsgrad", {"learning_rate": 1e-2}),
    Case("rmsprop", {"learning_rate": 1e-2}),
    Case("rmsprop", {"learning_rate": 1e-2, "centered": True, "momentum": 0.9, "eps": 1e-3}),
]


@cache
def problem(case: str, dtype: str) -> tuple[Any, list[Any]]:
    seed = seed_of(case)

    def joined(real: Any, imag: Any) -> Any:
        return uniopt.tree.map(lambda x, y: np.asarray(x + 1j * y, dtype=dtype), real, imag)

    real, imag = (gradients(seed + i, STEPS, tree=small_tree) for i in (1, 2))
    start = joined(parameters(seed, tree=small_tree), parameters(seed + 3, tree=small_tree))
    return start, [joined(x, y) for x, y in zip(real, imag, strict=True)]


@cache
def by_optax(case: str, dtype: str) -> list[list[Any]]:
    import jax
    import optax

    start, stream = problem(case, dtype)
    with float64("jax" if dtype == "complex128" else ""):
        tx = next(c for c in CASES if str(c) == case).build_optax()
        params = jax.tree.map(jax.numpy.asarray, start)
        state = tx.init(params)
        update = jax.jit(tx.update)
        steps = [uniopt.tree.leaves(start)]
        for grads in stream:
            updates, state = update(grads, state, params)
            params = optax.apply_updates(params, updates)
            steps.append([np.asarray(leaf) for leaf in uniopt.tree.leaves(params)])
    return steps


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_complex128_follows_optax(case: Case, name: str) -> None:
    with float64(name):
        found = trajectory(case.build(), *problem(str(case), "complex128"), require(name))
    worst = relative(found, by_optax(str(case), "complex128"))
    assert worst.value <= 1e-12, worst


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx", "array_api_strict"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_complex64_follows_complex128(case: Case, name: str) -> None:
    """Every library is as near to the exact path as 20 steps of rounding leave it."""
    start, stream = problem(str(case), "complex64")
    found = trajectory(case.build(), start, stream, require(name))
    wide = [uniopt.tree.map(lambda x: x.astype(np.complex128), tree) for tree in (start, *stream)]
    exact = trajectory(case.build(), wide[0], wide[1:], require("numpy"))
    rounded = [[x.astype(np.complex64) for x in leaves] for leaves in exact]
    worst = ulps(found, rounded)
    assert worst.value <= 16, worst


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx", "array_api_strict"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_dtypes_are_kept(case: Case, name: str) -> None:
    backend = require(name)
    start, stream = problem(str(case), "complex64")
    for updates, state, params in walk(
        case.build(), moved(start, backend), [moved(g, backend) for g in stream[:3]], backend
    ):
        assert {x.dtype for x in uniopt.tree.leaves(host((updates, params), backend))} == {np.dtype("complex64")}
        for path, x in uniopt.tree.leaves_with_paths(host(state, backend), ""):
            expected = "int32" if ".count" in path else "float32" if ".nu" in path else "complex64"
            assert x.dtype == expected, path


def test_descent_on_a_complex_quadratic() -> None:
    """With the conjugate of JAX's gradient, |z|**2 falls."""
    import jax

    tx = uniopt.adam(0.1)
    z = require("jax").from_numpy(np.asarray([1 + 2j, -0.5j], np.complex64))
    state = tx.init(z)
    for _ in range(100):
        grads = jax.numpy.conj(jax.grad(lambda z: jax.numpy.sum(jax.numpy.abs(z - 0.25j) ** 2))(z))
        updates, state = tx.update(grads, state, z)
        z = uniopt.apply_updates(z, updates)
    np.testing.assert_allclose(z, 0.25j, atol=0.05)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx", "array_api_strict"])
@pytest.mark.parametrize("optimizer", ["ftrl", "rprop"])
def test_what_compares_numbers_refuses_complex_ones(optimizer: str, name: str) -> None:
    backend = require(name)
    params = {"w": backend.from_numpy(np.asarray([1 + 2j]), "complex64")}
    with pytest.raises(uniopt.errors.DtypeKindError, match=rf"params\['w'\].*{optimizer} needs real numbers"):
        getattr(uniopt, optimizer)(0.1).init(params)
