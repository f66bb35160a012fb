"""What every backend promises, on its own arrays."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend

from tests.conftest import EVERYWHERE, float64, require

F = np.float32
WITH_COMPILER = ("jax", "mlx", "torch")


def vector(backend: Backend, *values: float, dtype: str = "float32") -> Any:
    return backend.from_numpy(np.asarray(values or (1.0, 3.0), F), dtype)


def test_the_library_is_known(backend: Backend) -> None:
    distribution = backend.name.replace("_", "-")
    assert backend.version() == version(distribution)
    assert backend.why_unavailable() is None
    assert backend.devices()
    x = vector(backend)
    assert not backend.is_traced(x)
    assert backend.node(x) is None
    assert backend.node({"a": x}) is None or backend.name == "jax"  # which has containers of its own
    assert backend.accepts(backend)
    assert not any(backend.accepts(require(name)) for name in EVERYWHERE if name != backend.name)


def test_arrays_are_where_they_are_put(backend: Backend) -> None:
    x, scalar = vector(backend), vector(backend)[0]
    assert backend.colocated(x, scalar)
    assert backend.place(scalar, x) is scalar
    assert backend.place(x, scalar) is x
    assert backend.device(x) == backend.device(vector(backend))
    for device in backend.devices():
        there = backend.from_numpy(np.ones(2, F), device=device)
        assert backend.device(there) in (backend.device(vector(backend)), device) or backend.name == "jax"


@pytest.mark.parametrize("library", EVERYWHERE)
def test_float64_is_there_or_not(library: str) -> None:
    backend = require(library)
    assert backend.has_float64(vector(backend)) == (library != "jax")
    with float64(library):
        assert backend.has_float64(vector(backend))


def test_casts(backend: Backend) -> None:
    x = vector(backend)
    assert backend.astype(x, x.dtype) is x
    for y in (x, x[0], backend.xp.sum(x)):
        as_int = backend.astype(y, backend.xp.int32)
        assert isinstance(as_int, type(x))
        assert as_int.shape == y.shape
        assert dtype_name(as_int.dtype) == "int32"
    np.testing.assert_array_equal(backend.to_numpy(backend.astype(x, backend.xp.int32)), [1, 3])


def test_results_are_restored_as_leaves(backend: Backend) -> None:
    x = vector(backend)
    found = backend.restore(2 * x, x, backend.xp.int32)
    assert dtype_name(found.dtype) == "int32"
    assert isinstance(found, type(x))
    np.testing.assert_array_equal(backend.to_numpy(found), [2, 6])


@pytest.mark.parametrize("narrow", ["float16", "bfloat16", "float32"])
def test_numbers_are_rounded(backend: Backend, narrow: str) -> None:
    if narrow not in backend.dtypes():
        return
    x = vector(backend, 1.0 / 3.0, -1e-3)
    dtype = backend.dtype(narrow)
    expected = backend.to_numpy(backend.astype(backend.astype(x, dtype), x.dtype))
    assert (expected != backend.to_numpy(x)).all() or narrow == "float32"

    def rounded(x: Any) -> Any:
        return backend.rounded(x, dtype)

    for f in [rounded, *([traced(backend, rounded)] if backend.name in WITH_COMPILER else [])]:
        found = f(x)
        assert dtype_name(found.dtype) == "float32"
        np.testing.assert_array_equal(backend.to_numpy(found), expected)
    assert backend.rounded(x, x.dtype) is x


def traced(backend: Backend, f: Any) -> Any:
    """Return a function traced by the library, which torch does without compiling what it has traced."""
    import torch

    return torch.compile(f, fullgraph=True, backend="eager") if backend.name == "torch" else backend.compile(f)


@pytest.mark.parametrize("library", EVERYWHERE)
def test_scalars_of_a_step(library: str) -> None:
    backend = require(library)
    with float64(library):
        seen: list[Any] = []

        def scalar(xp: Any, t: Any, *args: Any) -> Any:
            seen.append((xp, t, args))
            return t * 0.1

        found = backend.at_step(scalar, backend.asarray(2, dtype=backend.xp.int32), "a", 1)
        ((xp, t, args),) = seen
        assert (xp, args) == (backend.xp, ("a", 1))
        assert dtype_name(t.dtype) == "float64"
        assert t.shape == ()
        assert backend.to_numpy(found) == 3 * 0.1


@pytest.mark.parametrize("library", WITH_COMPILER)
def test_compiled_functions_are_traced_once_for_each_shape(library: str) -> None:
    backend, traces = require(library), []
    x, matrix = vector(backend), backend.from_numpy(np.ones((2, 2), F))

    def f(x: Any) -> Any:
        traces.append(None)
        return 2.0 * x

    f(x)
    compiled = backend.compile(f) if library != "torch" else traced(backend, lambda x: 2.0 * x)
    assert compiled is not f
    for given in (x, x, matrix, x):
        np.testing.assert_array_equal(backend.to_numpy(compiled(given)), 2 * backend.to_numpy(given))
    assert len(traces) - 1 == (2 if library != "torch" else 0)


@pytest.mark.parametrize("library", [name for name in EVERYWHERE if name not in WITH_COMPILER])
def test_without_a_compiler_a_function_stays_as_it_is(library: str) -> None:
    assert require(library).compile(np.cos) is np.cos


@pytest.mark.parametrize("donate", [False, True])
def test_compiled_steps(backend: Backend, donate: bool) -> None:
    def step(kept: list[Any], donated: list[Any]) -> list[Any]:
        (g,), (p, m) = kept, donated
        return [p, m] if g is None else [p - 2.0 * (m + g), m + g]

    compiled = backend.compile_step(step, donate=donate, parameters={0: 0})
    g, given = vector(backend, 1.0, -1.0), [vector(backend, 5.0, 6.0), vector(backend, 0.5, 0.5)]
    for _ in range(2):
        kept = [backend.copy(x) for x in given]
        results = compiled([g], kept)
        for found, expected in zip(results, step([g], given), strict=True):
            np.testing.assert_array_equal(backend.to_numpy(found), backend.to_numpy(expected))
        written = donate and backend.name in ("numpy", "torch")
        assert [x is y for x, y in zip(results, kept, strict=True)] == [written] * 2
        if not donate:
            for x, before in zip(kept, given, strict=True):
                np.testing.assert_array_equal(backend.to_numpy(x), backend.to_numpy(before))
    results = compiled([None], [backend.copy(x) for x in given])
    np.testing.assert_array_equal(backend.to_numpy(results[0]), [5.0, 6.0])


def test_values_and_gradients(backend: Backend) -> None:
    if backend.name not in WITH_COMPILER:
        assert backend.value_and_grad is None
        return
    assert backend.value_and_grad is not None

    def f(params: Any, factor: float) -> Any:
        return factor * backend.xp.sum(params["w"] * params["w"])

    value, grad = backend.value_and_grad(f)({"w": vector(backend)}, 0.5)
    assert backend.to_numpy(value) == 5.0
    np.testing.assert_array_equal(backend.to_numpy(grad["w"]), [1.0, 3.0])


def test_a_condition_chooses_one_side(backend: Backend) -> None:
    x = vector(backend)
    for predicate, expected in ((x[0] < x[1], [2.0, 6.0]), (x[0] > x[1], [-1.0, -3.0])):
        same, chosen = backend.cond(predicate, lambda: [x, 2.0 * x], lambda: [x, -x])
        np.testing.assert_array_equal(backend.to_numpy(same), [1.0, 3.0])
        np.testing.assert_array_equal(backend.to_numpy(chosen), expected)
