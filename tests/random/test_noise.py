"""noisy_sgd: the same noise on every library, of the variance that its formula says, under tracing too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import EVERYWHERE, require
from tests.properties.error_unit import ulps
from tests.properties.problems import gradients, moved, parameters, small_tree, trajectory


def build(**settings: Any) -> uniopt.GradientTransformation:
    return uniopt.noisy_sgd(0.1, **{"eta": 0.3, "gamma": 0.55, "key": 2**40 + 9, **settings})


@pytest.mark.parametrize("name", [name for name in EVERYWHERE if name != "numpy"])
def test_the_same_noise_everywhere(name: str) -> None:
    start, stream = (
        parameters(1, np.float32, tree=small_tree),
        gradients(2, 5 if name != "dask" else 2, np.float32, small_tree),
    )
    expected = trajectory(build(), start, stream, require("numpy"))
    worst = ulps(trajectory(build(), start, stream, require(name)), expected)
    assert worst.value <= 4, worst


def test_leaves_and_state_are_kept(backend: Backend) -> None:
    """The noise changes no input, no dtype and no shape, and skips what has no gradient."""
    params = {"w": backend.from_numpy(np.ones(3, np.float32)), "s": backend.from_numpy(np.asarray(2.0, np.float32))}
    tx = build()
    state = tx.init(params)
    updates, after = tx.update({"w": params["w"], "s": None}, state, params)
    new = uniopt.apply_updates(params, updates)
    assert updates["s"] is None
    for path, x in uniopt.tree.leaves_with_paths({"w": updates["w"], "new": new}):
        like = params["s" if path.endswith("['s']") else "w"]
        assert (type(x), x.dtype, tuple(x.shape)) == (type(like), like.dtype, tuple(like.shape)), path
    assert np.array_equal(backend.to_numpy(params["w"]), np.ones(3, np.float32))
    assert float(backend.to_numpy(new["s"])) == 2.0
    assert not np.any(backend.to_numpy(new["w"]) == 1.0)
    assert [int(backend.to_numpy(x[0].count)) for x in (state, after)] == [0, 1]
    assert np.array_equal(*(backend.to_numpy(x[0].rng_key) for x in (state, after)))


def test_jit_draws_the_same_noise() -> None:
    import jax

    params = moved(parameters(1, np.float32, tree=small_tree), require("jax"))
    tx = build()
    state = tx.init(params)
    eager, _ = tx.update(params, state, params)
    jitted, _ = jax.jit(tx.update)(params, state, params)
    steps = [[np.asarray(x) for x in uniopt.tree.leaves(tree)] for tree in (params, eager, jitted)]
    worst = ulps([steps[0], steps[2]], [steps[0], steps[1]])
    assert worst.value <= 4, worst


def test_the_variance_falls_as_the_formula_says() -> None:
    tx = uniopt.add_noise(eta=0.3, gamma=0.55, key=4)
    zeros = np.zeros(50_000)
    state = tx.init(zeros)
    seen = []
    for t in range(1, 5):
        noise, state = tx.update(zeros, state)
        assert abs(noise.mean()) < 4 * math.sqrt(0.3 / zeros.size)
        assert noise.var() == pytest.approx(0.3 / t**0.55, rel=4 * math.sqrt(2 / zeros.size))
        seen.append(noise)
    correlations = np.corrcoef(seen) - np.eye(4)
    assert np.max(np.abs(correlations)) < 4.5 / math.sqrt(zeros.size)  # every step draws anew


def test_leaves_draw_different_noise() -> None:
    tx = uniopt.add_noise(1.0, 0.5)
    zeros = {"a": np.zeros(4), "b": np.zeros(4)}
    noise, _ = tx.update(zeros, tx.init(zeros))
    assert not np.any(noise["a"] == noise["b"])


def test_the_seed_decides() -> None:
    zeros = np.zeros(4)

    def first(tx: uniopt.GradientTransformation) -> Any:
        return tx.update(zeros, tx.init(zeros), zeros)[0].tolist()

    assert first(build(key=1)) == first(build(key=None, seed=1))
    assert first(build(key=0)) == first(build(key=None))
    assert first(build(key=1)) != first(build(key=2))


def test_a_resumed_run_draws_what_the_uninterrupted_one_draws() -> None:
    """The seed and the count are in the state: nothing else decides the noise."""
    params = np.zeros(3)
    tx = build()
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(params, state, params)
    there, _ = tx.update(params, state, params)
    again, _ = build(key=123).update(params, state, params)  # another seed, but the saved state
    np.testing.assert_array_equal(there, again)
