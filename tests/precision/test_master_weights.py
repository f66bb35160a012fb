"""Parameters are the float32 run's, rounded once, to the bit; so is whatever the optimizer within is told of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.conftest import require
from tests.fusion.walks import assert_same_bits, build, eager, numpy_dtype
from tests.precision.walks import LIBRARIES, rounded, start, stream, walked

HALVES = ("bfloat16", "float16")


def wide(tree: Any) -> Any:
    return uniopt.tree.map(lambda x: x.astype(np.float32), tree)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "muon"])
def test_parameters_are_those_of_float32_rounded(name: str, dtype: str) -> None:
    params, grads = start(dtype), stream(dtype)
    exact = eager(build(name), wide(params), [wide(g) for g in grads], len(grads))
    found = eager(uniopt.master_weights(build(name)), params, grads, len(grads))
    for (expected, inner), (halves, state) in zip(exact, found, strict=True):
        assert_same_bits(state.master, expected, name)
        assert_same_bits(state.inner_state, inner, name)
        assert_same_bits(wide(halves), uniopt.tree.map(lambda x: rounded(x, dtype), expected), name)


@pytest.mark.parametrize("mode", ["eager", "compiled"])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_parameters_are_the_copies_rounded(library: str, dtype: str, mode: str) -> None:
    """Through zero and far, on every library; what each of them makes of the copies is its own."""
    tx = uniopt.master_weights(uniopt.adam(0.7))
    for params, state in walked(library, tx, start(dtype), stream(dtype, 4), mode):
        for x, master in zip(uniopt.tree.leaves(params), uniopt.tree.leaves(state.master), strict=True):
            np.testing.assert_array_equal(x, rounded(master, dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_a_parameter_that_shrinks_to_nothing_is_right_one_step_later(dtype: str) -> None:
    """The difference is exact down to 2**-14 (2**-11) of the parameter; below, it is off by 2**-24 at most, once."""
    start = 1024.0
    limit = start * {"bfloat16": 2.0**-14, "float16": 2.0**-11}[dtype]
    copies = np.asarray(limit * 1.01 ** np.arange(-2000, 1000), np.float32)
    params = np.full(len(copies), start, numpy_dtype(dtype))
    tx = uniopt.master_weights(uniopt.scale(1.0))
    state = uniopt.tree_set(tx.init(params), master=copies)
    off = []
    for _ in range(2):
        updates, state = tx.update(np.zeros(len(copies), np.float32), state, params)
        params = uniopt.apply_updates(params, updates)
        off.append(np.abs(wide(params) - rounded(copies, dtype)))
    assert np.all(off[0][copies >= limit] == 0)
    assert 0 < np.max(off[0]) <= start * 2.0**-24
    assert np.all(off[1] == 0)


def test_only_16_bit_parameters_have_copies() -> None:
    params = {"half": np.ones(2, np.float16), "wide": np.ones(2, np.float32), "double": np.ones(2)}
    state = uniopt.master_weights(uniopt.sgd(0.1)).init(params)
    assert {name: getattr(x, "dtype", None) for name, x in state.master.items()} == {
        "half": np.float32, "wide": None, "double": None,
    }  # fmt: skip
    assert [leaf.bytes for leaf in uniopt.summary(state.master).leaves] == [8]


def test_what_is_within_knows_nothing_but_the_copies() -> None:
    """A mask, a function of trees and an optimizer of optax are given float32."""
    import jax.numpy as jnp
    import optax

    seen: list[Any] = []

    def look(updates: Any, params: Any) -> Any:
        seen.append((updates["w"].dtype, params["w"].dtype, params["w"]))
        return updates

    def mask(params: Any) -> Any:
        seen.append((params["w"].dtype, params["w"].dtype, params["w"]))
        return {"w": True}

    params = {"w": jnp.ones(2, "bfloat16")}
    inner = uniopt.chain(uniopt.masked(uniopt.stateless(look), mask), optax.stateless(look), uniopt.scale(-1e-3))
    tx = uniopt.master_weights(inner)
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(params, state, params)
        params = uniopt.apply_updates(params, updates)
    assert {str(dtype) for pair in seen for dtype in pair[:2]} == {"float32"}
    assert float(seen[-1][2][0]) == np.float32(1.0) + np.float32(-1e-3)
    assert state.master["w"].dtype == jnp.float32


def test_optax_adds_them_to_the_same_parameters() -> None:
    import optax

    backend = require("jax")
    params = backend.from_numpy(np.linspace(-2, 2, 9), "bfloat16")
    tx = optax.chain(uniopt.master_weights(uniopt.adam(0.1)), optax.identity())
    ours, theirs, state = params, params, tx.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state, ours)
        ours, theirs = uniopt.apply_updates(ours, updates), optax.apply_updates(theirs, updates)
        assert ours.dtype == theirs.dtype == params.dtype
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ours.astype("float32"), rounded(state[0].master, "bfloat16"))


def test_copies_are_set_with_tree_set() -> None:
    params = np.ones(2, np.float16)
    tx = uniopt.master_weights(uniopt.sgd(1e-4))
    state = uniopt.tree_set(tx.init(params), master=np.full(2, 3.0, np.float32))
    updates, _ = tx.update(np.zeros(2, np.float16), state, params)
    np.testing.assert_array_equal(uniopt.apply_updates(params, updates), 3.0)
