"""One of two trees by a condition: with a value, under every library's tracer, and in a recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends import registry
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import host, moved
from uniopt.conditional import cond
from uniopt.errors import StateError
from uniopt.step import Step

F = np.float32
TRACING = ("jax", "torch", "mlx")


class Sides:
    """Two functions that return trees, and note that they were called."""

    def __init__(self, x: Any, poisoned: bool = False) -> None:
        self.x = x
        self.poisoned = poisoned
        self.called: list[bool] = []

    def on_true(self, step: Step) -> Any:
        self.called.append(True)
        return {"updates": [2.0 * self.x, None, self.x], "count": (self.x > 0.0,)}

    def on_false(self, step: Step) -> Any:
        self.called.append(False)
        bad = 0.0 * self.x / (0.0 * self.x) if self.poisoned else -self.x
        return {"updates": [bad, None, self.x], "count": (self.x < 0.0,)}


def steps(x: Any) -> Step:
    return Step.of_params(x)[0]


def choose(predicate: Any, x: Any, poisoned: bool = False) -> Any:
    sides = Sides(x, poisoned)
    return cond(steps(x), predicate, sides.on_true, sides.on_false)


@pytest.mark.parametrize("taken", [True, False])
def test_a_condition_with_a_value(backend: Backend, taken: bool) -> None:
    x = backend.from_numpy(np.asarray([1.0, -3.0], F))
    for predicate in (backend.xp.all(x > (-5.0 if taken else 5.0)), taken):
        sides = Sides(x)
        found = host(cond(steps(x), predicate, sides.on_true, sides.on_false), backend)
        np.testing.assert_array_equal(found["updates"][0], [2.0, -6.0] if taken else [-1.0, 3.0])
        assert found["updates"][1] is None
        np.testing.assert_array_equal(found["updates"][2], [1.0, -3.0])
        np.testing.assert_array_equal(found["count"][0], [True, False] if taken else [False, True])
        lazy = backend.name == "dask" and predicate is not taken
        assert sides.called == ([True, False] if lazy else [taken]), "the side that is not taken was computed"


def test_dask_computes_nothing() -> None:
    import dask

    backend = require("dask")
    x = backend.from_numpy(np.asarray([1.0, -3.0], F))
    predicate = backend.xp.all(x > 0.0)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a condition computed a Dask array")

    with dask.config.set(scheduler=refuse):
        choose(predicate, x)


def traced(backend: Backend, f: Any) -> Any:
    """Return a function traced by the library, which torch does without compiling what it has traced."""
    import torch

    return torch.compile(f, fullgraph=True, backend="eager") if backend.name == "torch" else backend.compile(f)


@pytest.mark.parametrize("name", TRACING)
def test_a_condition_that_is_traced(name: str) -> None:
    backend = require(name)
    compiled = traced(backend, lambda limit, x: choose(backend.xp.all(x > limit), x, poisoned=True)["updates"][0])
    x = backend.from_numpy(np.asarray([1.0, 3.0], F))
    for limit, expected in ((0.0, [2.0, 6.0]), (2.0, [np.nan, np.nan])):
        found = compiled(backend.from_numpy(np.asarray(limit, F)), x)
        np.testing.assert_array_equal(backend.to_numpy(found), expected)


@pytest.mark.parametrize("name", TRACING)
def test_a_condition_for_each_element_of_a_batch(name: str) -> None:
    import jax
    import mlx.core as mx
    import torch

    backend = require(name)
    vmap = {"jax": jax.vmap, "torch": torch.vmap, "mlx": mx.vmap}[name]
    xs = backend.from_numpy(np.asarray([[1.0, 3.0], [-1.0, 3.0], [0.0, 0.0]], F))
    found = vmap(lambda x: choose(backend.xp.all(x > 0.0), x)["updates"][0])(xs)
    np.testing.assert_array_equal(backend.to_numpy(found), [[2.0, 6.0], [1.0, -3.0], [0.0, 0.0]])


def test_jax_runs_one_side_only() -> None:
    import jax

    text = str(jax.make_jaxpr(lambda x: choose(x.sum() > 0, x)["updates"][0])(np.ones(2, F)))
    assert "cond[" in text
    assert "select" not in text


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_condition_in_a_recording(name: str) -> None:
    """NaN of the side that is not taken stays there; a fallback to eager steps would be a warning."""
    backend = require(name)

    def divided(updates: Any, params: Any) -> Any:
        step, (g,) = Step.of_params(updates)
        return cond(step, backend_of(g).xp.all(g != 0.0), lambda step: params / g, lambda step: params)

    step = uniopt.compile(uniopt.stateless(divided))
    params = backend.from_numpy(np.asarray([1.0, 3.0], F))
    for grads, expected in (([0.0, 1.0], [2.0, 6.0]), ([2.0, 2.0], [3.0, 9.0])):
        params, _ = step(backend.from_numpy(np.asarray(grads, F)), uniopt.EmptyState(), params)
        np.testing.assert_array_equal(backend.to_numpy(params), expected)


def backend_of(x: Any) -> Backend:
    return registry.backend_of(x)


@pytest.mark.parametrize("name", TRACING)
def test_what_one_side_brings_is_not_known_outside(name: str) -> None:
    """A scalar that is cast under a conditional is a value of that conditional's trace alone."""
    backend = require(name)

    def f(rate: Any, x: Any) -> Any:
        step = steps(x)
        place = step.places[0]
        assert place is not None

        def side(step: Step) -> Any:
            inner = step.places[0]
            assert inner is not None
            return inner.bring(rate) * x

        inside = cond(step, backend.xp.all(x > 0.0), side, lambda step: x)
        return inside + place.bring(rate) * x

    rate, x = backend.asarray(3, dtype=backend.xp.int32), backend.from_numpy(np.asarray([1.0, 2.0], F))
    np.testing.assert_array_equal(backend.to_numpy(traced(backend, f)(rate, x)), [6.0, 12.0])


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (lambda x: {"a": x}, "containers"),
        (lambda x: [x[:1]], "shape"),
        (lambda x: [x > 0.0], "bool"),
        (lambda x: [None], "None"),
        (lambda x: [3.0], "3.0"),
    ],
)
def test_sides_that_differ(other: Any, found: str) -> None:
    backend = require("jax")
    x = backend.from_numpy(np.asarray([1.0, 3.0], F))
    f = backend.compile(lambda x: cond(steps(x), x.sum() > 0, lambda step: [x], lambda step: other(x)))
    with pytest.raises(StateError, match=found):
        f(x)


def test_leaves_of_other_kinds_stay() -> None:
    backend = require("jax")
    tree = moved({"w": np.ones(2, F), "kind": np.zeros((), np.int32)}, backend) | {"name": "adam", "power": 2}
    f = backend.compile(lambda x: cond(steps(x), x.sum() > 0, lambda step: tree, lambda step: tree)["w"])
    np.testing.assert_array_equal(f(tree["w"]), np.ones(2))
    eager = cond(steps(tree["w"]), tree["kind"] == 0, lambda step: tree, lambda step: tree)
    assert (eager["name"], eager["power"]) == ("adam", 2)
