"""What sam promises by itself: whose turn it is, where a step begins, and what it asks of an objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import require
from tests.properties.problems import moved
from tests.properties.wrapped import assert_close, problem
from uniopt import errors
from uniopt.step import Step
from uniopt.transformation import Stage, transformation

F = np.float32


@dataclass(frozen=True, eq=False)
class Counted(Stage):
    """Passes the updates on, and counts how often it has computed them."""

    calls: list[int]

    def init(self, step: Step, params: list[Any]) -> Any:
        return uniopt.EmptyState()

    def update(self, step: Step, updates: Any, state: Any, params: Any, extra: Any) -> tuple[list[Any], Any]:
        self.calls.append(1)
        return updates, state


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx", "array_api_strict"])
def test_sam_computes_only_the_optimizer_whose_turn_it_is(name: str) -> None:
    backend, outer, climb = require(name), Counted([]), Counted([])
    tx = uniopt.sam(transformation(outer), transformation(climb), sync_period=3)
    params = moved({"w": np.ones(2, F)}, backend)
    state = tx.init(params)
    for _ in range(7):
        _, state = tx.update(params, state, params)
    assert (len(outer.calls), len(climb.calls)) == (2, 5)


def test_sam_of_one_step_is_the_outer_optimizer() -> None:
    """optax takes each step from the parameters before the last one."""
    start, stream = problem("sam", 1.0, 4)
    tx, plain = uniopt.sam(uniopt.adam(0.1), uniopt.sgd(1.0), sync_period=1), uniopt.adam(0.1)
    params = expected = start
    state, other = tx.init(params), plain.init(params)
    for grads in stream:
        updates, state = tx.update(grads, state, params)
        params = uniopt.apply_updates(params, updates)
        updates, other = plain.update(grads, other, expected)
        expected = uniopt.apply_updates(expected, updates)
        assert_close(params, expected, rtol=1e-14)


def test_nan_of_a_climb_stays_there() -> None:
    tx = uniopt.sam(uniopt.sgd(0.5), uniopt.sgd(1.0))
    params = np.asarray([1.0, 2.0])
    nan = np.full(2, np.nan)
    updates, state = tx.update(nan, tx.init(params), params)
    updates, state = tx.update(np.ones(2), state, params + updates)
    np.testing.assert_array_equal(state.cache, params)


def test_opaque_sam_needs_an_objective() -> None:
    tx, params = uniopt.sam(uniopt.sgd(0.1), uniopt.sgd(0.1), opaque_mode=True), np.ones(2)
    with pytest.raises(errors.MissingArgumentError, match="grad_fn"):
        tx.update(params, tx.init(params), params)


def test_opaque_sam_asks_for_gradients_at_all_parameters() -> None:
    """Those without a gradient stay where they are, and what the objective says of them is not used."""
    params = {"w": np.asarray([3.0, 4.0]), "frozen": {"a": np.ones(2)}, "n": None}

    def slope(params: Any, i: int) -> Any:
        assert np.array_equal(params["frozen"]["a"], np.ones(2))
        assert params["n"] is None
        return {"w": params["w"] * params["frozen"]["a"], "frozen": {"a": params["w"]}, "n": None}

    tx = uniopt.sam(uniopt.sgd(0.1), uniopt.chain(uniopt.normalize(), uniopt.sgd(0.5)), opaque_mode=True)
    grads = {"w": params["w"], "frozen": None, "n": None}
    updates, _ = tx.update(grads, tx.init(params), params, grad_fn=slope)
    np.testing.assert_allclose(updates["w"], [-0.33, -0.44])
    assert updates["frozen"] is None
