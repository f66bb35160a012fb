"""Measurements in the state: what they are, beside optax's, on every library."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import float64, require
from tests.properties.problems import gradients, host, moved, parameters
from uniopt import errors, tree

F = np.float32


def squares(updates: Any) -> Any:
    """Return the sum of all squares, a 0-d array."""
    return sum(uniopt.backends.backend_of(g).xp.sum(g * g) for g in tree.leaves(updates))


def is_long(updates: Any) -> Any:
    return squares(updates) > 20.0


def both(updates: Any) -> Any:
    return {"first": updates["dense"]["b"] + 0.0, "number": 3, "squares": squares(updates), "nothing": None}


def tx_of(m: Any) -> Any:
    return m.chain(
        m.trace(0.5),
        m.snapshot("before", squares),
        m.scale(-0.5),
        m.monitor(
            {
                "after": squares,
                "often": m.measure_with_ema(is_long, 0.75),
                "mean": m.measure_with_ema(squares, 0.5, debias=False),
                "moments": m.ema(0.9),
            }
        ),
    )


@pytest.mark.parametrize("name", ["numpy", "jax", "torch"])
def test_they_are_optaxs(name: str) -> None:
    import jax
    import optax

    backend, start, stream = require(name), parameters(3), gradients(4, 6)
    tx, theirs = tx_of(uniopt), tx_of(optax)
    with float64("jax"):
        params = moved(start, backend)
        state, other = tx.init(params), theirs.init(jax.tree.map(jax.numpy.asarray, start))
        for grads in stream:
            _, state = tx.update(moved(grads, backend), state, params)
            _, other = theirs.update(jax.tree.map(jax.numpy.asarray, grads), other)
            for mine, expected in ((state[1].measurement, other[1].measurement), (state[3], other[3])):
                for x, y in zip(tree.leaves(host(mine, backend)), tree.leaves(expected), strict=True):
                    # optax averages bools in float32.
                    np.testing.assert_allclose(x, np.asarray(y), rtol=1e-12 if y.dtype == np.float64 else 1e-6)


def test_states_keep_their_structure(backend: Backend) -> None:
    params = moved({"dense": {"w": np.ones((2, 2), F), "b": np.full(2, 2.0, F)}}, backend)
    tx = uniopt.chain(uniopt.snapshot("all", both), uniopt.monitor({"often": uniopt.measure_with_ema(is_long, 0.5)}))
    state = tx.init(params)
    measurement = host(state[0].measurement["all"], backend)
    np.testing.assert_array_equal(measurement["first"], [2, 2])
    assert (float(measurement["squares"]), float(measurement["number"]), measurement["nothing"]) == (12.0, 3.0, None)
    _, after = tx.update(tree.map(lambda p: 2 * p, params), state, params)
    assert tree.flatten(after)[1] == tree.flatten(state)[1]
    kinds = [[(type(x), x.dtype, x.shape) for x in tree.leaves(s)] for s in (state, after)]
    assert kinds[0] == kinds[1]
    assert float(host(state[1].measurements["often"], backend)) == 0.0
    assert float(host(after[1].measurements["often"], backend)) == 1.0


def test_measurements_of_sixteen_bits_are_float32() -> None:
    backend = require("jax")
    params = moved({"w": np.ones(3, F)}, backend, "bfloat16")
    tx = uniopt.monitor({"squares": squares, "mean": uniopt.measure_with_ema(squares, 0.5)})
    _, state = tx.update(params, tx.init(params))
    assert {x.dtype.name for x in tree.leaves(state.measurements)} == {"float32"}


def test_extra_arguments_reach_a_measure() -> None:
    def init(params: Any) -> Any:
        return ()

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return np.asarray(extra.get("value", 0.0)), state

    tx = uniopt.monitor({"value": uniopt.GradientTransformation(init, update)})
    _, state = tx.update(np.ones(2), tx.init(np.ones(2)), value=3.0)
    assert float(state.measurements["value"]) == 3.0


def test_a_measure_that_returns_no_numbers_is_named() -> None:
    with pytest.raises(errors.HyperparameterError, match=r"The measure <lambda> returned 'long', expected an array"):
        uniopt.snapshot("length", lambda updates: "long").init(np.ones(2))
    tx = uniopt.measure_with_ema(lambda updates: {"a": 1.0, "b": {1}}, 0.5)
    with pytest.raises(errors.HyperparameterError, match=r"The measure <lambda> returned \{1\}"):
        uniopt.monitor({"length": tx}).init(np.ones(2))


def test_they_are_values() -> None:
    tx = tx_of(uniopt)
    assert tx == tx_of(uniopt)
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert repr(uniopt.snapshot("norm", squares)) == "snapshot('norm', squares)"
    text = repr(uniopt.monitor({"norm": uniopt.measure_with_ema(is_long, 0.5)}))
    assert text.startswith("monitor({'norm': measure_with_ema(<function is_long")
