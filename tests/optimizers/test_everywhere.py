"""What holds for every optimizer: no NaN from zeros, dtypes that stay, skipped leaves, one compilation."""

from __future__ import annotations

import inspect
from itertools import product
from typing import Any

import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name

import uniopt
from tests.conftest import float64, require
from tests.optimizers.settings import EVERY, ONE_EACH, Setting

HAS = {
    "numpy": ("float16", "bfloat16", "float32", "float64"),
    "torch": ("float16", "bfloat16", "float32", "float64"),
    "mlx": ("float16", "bfloat16", "float32", "float64"),
    "array_api_strict": ("float32", "float64"),
    "jax": ("float16", "bfloat16", "float32", "float64"),
    "dask": ("float32", "float64"),
}
SLOW = ("jax", "dask")


def tree(make: Any) -> Any:
    return {"matrix": make((2, 3)), "rest": [make(()), make((0, 2))]}


def on(backend: Any, dtype: str, value: float) -> Any:
    return tree(lambda shape: backend.from_numpy(np.full(shape, value), dtype))


def host(backend: Any, values: Any) -> list[Any]:
    return [backend.to_numpy(x) for x in uniopt.tree.leaves(values)]


def dtypes(values: Any) -> list[str]:
    return [dtype_name(x.dtype) for x in uniopt.tree.leaves(values)]


def unmasked(case: Setting) -> uniopt.GradientTransformation:
    """Return the transformation without its masks, which are written for another tree."""
    names = [name for name in inspect.signature(getattr(uniopt, case.optimizer)).parameters if name.endswith("mask")]
    return case.build(**dict.fromkeys(names, True))


GROUNDS = [
    pytest.param(
        library, dtype, marks=pytest.mark.wide if library == "dask" or (library, dtype) == ("jax", "float64") else ()
    )
    for library, names in HAS.items()
    for dtype in names
]


@pytest.mark.parametrize(("library", "dtype"), GROUNDS)
@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_zero_gradients_make_no_nan(case: Setting, library: str, dtype: str) -> None:
    backend = require(library)
    with float64(library if dtype == "float64" else ""):
        check_zeros(unmasked(case), backend, dtype, starts=(1.0, 0.0))


@pytest.mark.parametrize("dtype", HAS["numpy"])
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_zero_gradients_make_no_nan_in_any_setting(case: Setting, dtype: str) -> None:
    check_zeros(unmasked(case), require("numpy"), dtype, starts=(1.0, 0.0))


NOTHING_ADDED = ("eps", "eps_root", "adam_eps_root", "initial_accumulator_value", "initial_scale", "min_norm")


@pytest.mark.parametrize("library", ["numpy", "torch", "mlx"])
@pytest.mark.parametrize(
    "case", [case for case in EVERY if case.optimizer != "adadelta"], ids=str
)  # its eps is above 0
def test_zero_gradients_make_no_nan_without_epsilons(case: Setting, library: str) -> None:
    check_zeros(with_epsilons(case, 0.0), require(library), "float32", starts=(1.0, 0.0))


@pytest.mark.parametrize("epsilon", [1e-40, 1e-50])  # float32 holds few digits of the one, and the other is 0
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_zero_gradients_make_no_nan_with_epsilons_that_float32_cannot_hold(case: Setting, epsilon: float) -> None:
    check_zeros(with_epsilons(case, epsilon), require("numpy"), "float32", starts=(1.0, 0.0))


def with_epsilons(case: Setting, epsilon: float) -> uniopt.GradientTransformation:
    """Return the transformation without its masks, and with all that keeps it away from 0 as small as that."""
    known = inspect.signature(getattr(uniopt, case.optimizer)).parameters
    masks = {name: True for name in known if name.endswith("mask")}
    return case.build(**masks, **{name: epsilon for name in NOTHING_ADDED if name in known})


def check_zeros(tx: uniopt.GradientTransformation, backend: Any, dtype: str, starts: tuple[float, ...]) -> None:
    """Two steps of zeros, and two after a step of ones, keep parameters and state finite, and every dtype."""
    for start, stream in product(starts, ((0.0, 0.0), (1.0, 0.0, 0.0))):
        params = on(backend, dtype, start)
        state = tx.init(params)
        kept = dtypes(state)
        for value in stream:
            updates, state = tx.update(on(backend, dtype, value), state, params, value=backend.xp.ones(()))
            params = uniopt.apply_updates(params, updates)
            assert dtypes(params) == dtypes(updates) == [dtype] * 3
            assert dtypes(state) == kept
        for x in host(backend, (params, state)):
            assert np.isfinite(x).all()


MIXED = [
    pytest.param(library, own, other, marks=pytest.mark.wide if library in SLOW else ())
    for library, names in HAS.items()
    for own, other in product(names, names)
    if own != other
]


@pytest.mark.parametrize(("library", "own", "other"), MIXED)
@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_gradients_of_another_precision_change_no_dtype(case: Setting, library: str, own: str, other: str) -> None:
    backend, tx = require(library), unmasked(case)
    with float64(library if "float64" in (own, other) else ""):
        params = on(backend, own, 1.0)
        state = tx.init(params)
        kept = dtypes(state)
        for _ in range(2):
            updates, state = tx.update(on(backend, other, 0.5), state, params, value=backend.xp.ones(()))
            params = uniopt.apply_updates(params, updates)
            assert dtypes(updates) == dtypes(params) == [own] * 3
            assert dtypes(state) == kept


LIBRARIES = [pytest.param(name, marks=pytest.mark.wide if name in SLOW else ()) for name in HAS]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_a_gradient_of_none_skips_its_leaf(case: Setting, library: str) -> None:
    backend, tx = require(library), unmasked(case)
    params, value = on(backend, "float32", 1.0), backend.xp.ones(())
    _, state = tx.update(on(backend, "float32", 0.5), tx.init(params), params, value=value)
    whole = on(backend, "float32", 0.25)
    expected, expected_state = tx.update(whole, state, params, value=value)
    updates, after = tx.update({**whole, "rest": None}, state, params, value=value)
    assert updates["rest"] is None
    assert uniopt.apply_updates(params, updates)["rest"][0] is params["rest"][0]
    before, full = (dict(uniopt.tree.leaves_with_paths(tree, "state")) for tree in (state, expected_state))
    for path, slot in uniopt.tree.leaves_with_paths(after, "state"):
        wanted = before if "['rest']" in path else full
        np.testing.assert_array_equal(backend.to_numpy(slot), backend.to_numpy(wanted[path]), err_msg=path)
    if case.optimizer != "polyak_sgd":  # which takes the norm of the gradients that there are
        np.testing.assert_array_equal(backend.to_numpy(updates["matrix"]), backend.to_numpy(expected["matrix"]))


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_it_runs_under_jit_with_one_compilation(case: Setting) -> None:
    import jax

    backend, tx = require("jax"), unmasked(case)
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
