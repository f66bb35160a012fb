"""Averages of parameters, and trees that follow others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from torch.func import vmap

import uniopt
from uniopt import backends, tree
from uniopt.errors import MissingParamsError

Check = Callable[[], None]


def checks() -> Iterator[tuple[str, Check]]:
    """Yield every check with its name."""
    for check in (
        averages_are_those_of_the_parameters,
        averages_are_found_and_exchanged,
        averages_have_the_dtype_that_is_asked_for,
        followers_follow,
    ):
        yield check.__name__.replace("_", " "), check


def averages_are_those_of_the_parameters() -> None:
    """The mean of some steps, and the running means with and without bias, wherever a gradient is missing."""
    for average, weight in (
        (uniopt.params_mean(), lambda t: 1 / t),
        (uniopt.params_mean(3, 2), lambda t: 1.0 if t < 6 else 0.0 if t % 2 == 0 else 2 / (t - 3)),
        (uniopt.params_ema(0.75), lambda t: 0.25 / (1 - 0.75**t)),
        (uniopt.params_ema(0.0), lambda t: 1.0),
        (uniopt.params_ema(0.75, False), lambda t: 0.25),
    ):
        tx = uniopt.chain(uniopt.scale(-1.0), average)
        p, a = {"w": 2.0, "v": 3.0}, {"w": 2.0, "v": 3.0}
        params: Any = tree.map(np.asarray, p)
        state = tx.init(params)
        assert state[1].average == a
        for t in range(1, 12):
            grads = {"w": np.asarray(math.sin(t)), "v": None if t == 4 else np.asarray(math.cos(t))}
            updates, state = tx.update(grads, state, params)
            params = uniopt.apply_updates(params, updates)
            for key, g in grads.items():
                if g is not None:
                    p[key] -= float(g)
                    a[key] += weight(t) * (p[key] - a[key])
                np.testing.assert_allclose(params[key], p[key], rtol=1e-14)
                np.testing.assert_allclose(state[1].average[key], a[key], rtol=1e-13)
            assert int(state[1].count) == t
    mean = uniopt.params_mean(1, 2)
    state = mean.init(np.asarray(0.0))
    with np.errstate(invalid="ignore", divide="raise"):
        for x in (math.nan, math.nan, 3.0, math.inf, 5.0):
            _, state = mean.update(np.asarray(0.0), state, np.asarray(x))
    assert state.average == 4.0
    with pytest.raises(MissingParamsError, match=r"params_mean\(start=1, every=2"):
        mean.update(np.asarray(0.0), state)


def averages_are_found_and_exchanged() -> None:
    tx = uniopt.chain(uniopt.sgd(1.0), uniopt.masked(uniopt.params_mean(), {"a": True, "b": False, "none": False}))
    params = {"a": np.ones(2), "b": np.ones(1), "none": None}
    state = tx.init(params)
    _, state = tx.update({"a": np.ones(2), "b": np.ones(1), "none": None}, state, params)
    found = uniopt.averaged_params(state, params)
    assert not found["a"].any()
    assert found["b"] is not None
    assert found["b"][0] == 1.0
    assert found["none"] is None
    there, swapped = uniopt.swap_averaged_params(state, params)
    assert not there["a"].any()
    assert there["b"] is params["b"]
    assert swapped[1].inner_state.average["a"] is params["a"]
    assert isinstance(swapped[1].inner_state.average["b"], uniopt.MaskedNode)
    back, again = uniopt.swap_averaged_params(swapped, there)
    assert back["a"] is params["a"]
    assert again[1].inner_state.average["a"] is state[1].inner_state.average["a"]
    for wrong in ((), uniopt.chain(uniopt.params_mean(), uniopt.params_mean()).init(params)):
        try:
            uniopt.averaged_params(wrong, params)
            raise AssertionError("no average, or two")
        except uniopt.errors.StateError:
            pass


def averages_have_the_dtype_that_is_asked_for() -> None:
    """The float32 average of float16 parameters is that of the numbers that they are rounded to."""
    params = np.ones(2, np.float16)
    for tx in (uniopt.params_mean(), uniopt.params_ema(0.5)):
        state = tx.init(params)
        assert state.average.dtype == np.float32
        assert state.average is not params
        _, state = tx.update(np.asarray([2.0**-12, 2.0**-10], np.float16), state, params)
        np.testing.assert_array_equal(state.average, [1.0, 1 + 2.0**-10])
    for tx in (uniopt.params_mean(accumulator_dtype="float32"), uniopt.params_ema(0.5, accumulator_dtype="float32")):
        assert tx.init(np.ones(2)).average.dtype == np.float32
    x = np.ones(2)
    state = uniopt.params_mean().init(x)
    x[0] = 3.0
    assert state.average[0] == 1.0


def followers_follow() -> None:
    new, old = {"w": np.asarray([3.0]), "none": None}, {"w": np.asarray([2.0]), "none": np.asarray([7.0])}
    found = uniopt.incremental_update(new, old, 0.25)
    assert found["w"] == 2.25
    assert found["none"] == 7.0
    for steps in range(7):
        numpy, strict = map(backends.get, ("numpy", "array_api_strict"))
        given_as = (numpy, steps), (numpy, np.asarray(steps)), (strict, steps), (strict, strict.asarray(steps))
        for backend, given in given_as:
            fresh, held = (tree.map(lambda x, b=backend: b.from_numpy(x), t) for t in (new, old))
            found = uniopt.periodic_update(fresh, held, given, 3)
            assert float(found["w"][0]) == (3.0 if steps % 3 == 0 else 2.0)
            assert float(found["none"][0]) == 7.0
    torch = backends.get("torch")
    fresh, held, steps = torch.from_numpy(np.ones(2)), torch.from_numpy(np.zeros(2)), torch.from_numpy(np.arange(4))
    found = vmap(lambda n: uniopt.periodic_update(fresh, held, n, 3))(steps)
    np.testing.assert_array_equal(torch.to_numpy(found)[:, 0], [1.0, 0.0, 0.0, 1.0])
    assert uniopt.incremental_update({}, {}, 0.5) == {}
    assert uniopt.apply_updates(old, new)["none"] == 7.0
