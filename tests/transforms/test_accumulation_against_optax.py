"""Wrappers beside optax's in float64: every update and every field of the state, on every library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import pytest
from optax.contrib import reduce_on_plateau

import uniopt
from tests.conftest import EVERYWHERE, float64, require
from tests.properties.problems import gradients, host, moved, parameters, settled, small_tree

STEPS = 10
VALUES = (3.0, 2.0, 2.5, 2.5, 2.25, 1.5, 1.5, 1.75, 1.5, 1.5)
"""What the objective is said to be."""
POISONED = {1: np.nan, 4: np.inf, 5: -np.inf, 6: np.nan, 7: np.nan}
"""The steps in which one element of a gradient is no finite number."""


@dataclass(frozen=True)
class Peers:
    """A transformation and optax's."""

    mine: Callable[[], Any]
    theirs: Callable[[], Any]
    poisoned: bool = False
    scale: float = 1.0  # of the parameters


def every(n: Any) -> Any:
    return n % 3 == 1


def small(n: Any, value: Any) -> Any:
    return value < 2.0


def falling(n: Any) -> Any:
    return 0.5 - 0.03125 * n


def sizes() -> Any:
    return uniopt.join_schedules([uniopt.constant_schedule(1), uniopt.constant_schedule(3)], [2])


class Spent(uniopt.StatefulSchedule):
    """A rate that falls with what the objective was."""

    def init(self) -> Any:
        return {"spent": 0.5}

    def update(self, state: Any, **extra_args: Any) -> Any:
        return {"spent": state["spent"] - 0.015625 * extra_args["value"]}

    def __call__(self, state: Any, **extra_args: Any) -> Any:
        return state["spent"]


exact = partial(optax.MultiSteps, accumulator_dtype=None)  # by default optax accumulates float64 in float32
bounded = {"max_squared_norm": 20.0}
CASES = {
    "mean of 3": Peers(lambda: uniopt.MultiSteps(uniopt.adam(0.1), 3), lambda: exact(optax.adam(0.1), 3)),
    "every step": Peers(lambda: uniopt.MultiSteps(uniopt.adamw(0.1), 1), lambda: exact(optax.adamw(0.1), 1)),
    "sum of 2": Peers(
        lambda: uniopt.MultiSteps(uniopt.sgd(0.1, momentum=0.5), 2, use_grad_mean=False),
        lambda: exact(optax.sgd(0.1, momentum=0.5), 2, use_grad_mean=False),
        scale=0.0,
    ),
    "means in float32": Peers(
        lambda: uniopt.MultiSteps(uniopt.sgd(0.5), 4, accumulator_dtype="float32"),
        lambda: optax.MultiSteps(optax.sgd(0.5), 4),
    ),
    "a number of steps that grows": Peers(
        lambda: uniopt.MultiSteps(uniopt.sgd(0.1), sizes()),
        lambda: exact(optax.sgd(0.1), lambda n: jax.numpy.where(n < 2, 1, 3)),
    ),
    "without what is not finite": Peers(
        lambda: uniopt.MultiSteps(uniopt.adam(0.1), 2, should_skip_update_fn=uniopt.skip_not_finite),
        lambda: exact(optax.adam(0.1), 2, should_skip_update_fn=optax.skip_not_finite),
        poisoned=True,
    ),
    "without what is large": Peers(
        lambda: uniopt.MultiSteps(uniopt.sgd(0.1), 2, False, partial(uniopt.skip_large_updates, **bounded)),
        lambda: exact(optax.sgd(0.1), 2, False, partial(optax.skip_large_updates, **bounded)),
        poisoned=True,
    ),
    "apply_every": Peers(lambda: uniopt.apply_every(3), lambda: optax.apply_every(3)),
    "apply_every step": Peers(uniopt.apply_every, optax.apply_every),
    "apply_if_finite": Peers(
        lambda: uniopt.apply_if_finite(uniopt.adam(0.1), 2), lambda: optax.apply_if_finite(optax.adam(0.1), 2), True
    ),
    "apply_if_finite at once": Peers(
        lambda: uniopt.apply_if_finite(uniopt.sgd(0.1), 0), lambda: optax.apply_if_finite(optax.sgd(0.1), 0), True
    ),
    "conditionally_transform": Peers(
        lambda: uniopt.conditionally_transform(uniopt.adamw(0.1), every),
        lambda: optax.conditionally_transform(optax.adamw(0.1), every),
    ),
    "conditionally_mask": Peers(
        lambda: uniopt.conditionally_mask(uniopt.adam(0.1), every),
        lambda: optax.conditionally_mask(optax.adam(0.1), every),
    ),
    "conditionally_mask by value": Peers(
        lambda: uniopt.conditionally_mask(uniopt.adam(0.1), small, forward_extra_args=True),
        lambda: optax.conditionally_mask(optax.adam(0.1), small, forward_extra_args=True),
    ),
    "inject_hyperparams": Peers(
        lambda: uniopt.inject_hyperparams(uniopt.adamw)(uniopt.linear_schedule(0.5, 0.0, 16), 0.5, weight_decay=0.25),
        lambda: optax.inject_hyperparams(optax.adamw)(falling, 0.5, weight_decay=0.25),
    ),
    "inject a state": Peers(
        lambda: uniopt.inject_hyperparams(uniopt.scale)(Spent()),
        lambda: optax.inject_hyperparams(optax.scale)(Spent()),
    ),
    "reduce_on_plateau": Peers(
        lambda: uniopt.reduce_on_plateau(factor=0.5, patience=2), lambda: reduce_on_plateau(factor=0.5, patience=2)
    ),
    "reduce_on_plateau, cooling down": Peers(
        lambda: uniopt.reduce_on_plateau(0.5, 1, rtol=0.0, atol=0.25, cooldown=2, min_scale=0.2),
        lambda: reduce_on_plateau(0.5, 1, rtol=0.0, atol=0.25, cooldown=2, min_scale=0.2),
    ),
    "reduce_on_plateau, of means": Peers(
        lambda: uniopt.reduce_on_plateau(0.25, 1, rtol=0.125, accumulation_size=2),
        lambda: reduce_on_plateau(0.25, 1, rtol=0.125, accumulation_size=2),
    ),
}  # fmt: skip
UNTAKEN = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
"""Dask computes both sides, that of a NaN too, and NumPy warns of it."""
ELSEWHERE = [name for name in EVERYWHERE if name != "numpy"]


def stream(case: str) -> list[Any]:
    """Return the gradients, some of them poisoned where the case is about that."""
    grads = gradients(len(case), STEPS, tree=small_tree)
    for k, value in POISONED.items() if CASES[case].poisoned else ():
        grads[k]["w"][1, 2] = value
    return grads


def start(case: str) -> Any:
    return parameters(len(case), scale=CASES[case].scale, tree=small_tree)


def walk_of_optax(case: str) -> Iterator[tuple[Any, Any]]:
    """Yield update and state after each of optax's steps."""
    tx = CASES[case].theirs()
    update = jax.jit(tx.update)
    if case == "inject a state":
        update = tx.update  # its state begins as a Python number
    params = jax.tree.map(jax.numpy.asarray, start(case))
    state = tx.init(params)
    for grads, value in zip(stream(case), VALUES, strict=True):
        arguments = () if case.startswith("apply_every") else (params,)
        updates, state = update(jax.tree.map(jax.numpy.asarray, grads), state, *arguments, **extra(case, value))
        params = optax.apply_updates(params, updates)
        yield updates, state


def extra(case: str, value: float) -> dict[str, Any]:
    needed = case.startswith("reduce") or case in ("conditionally_mask by value", "inject a state")
    return {"value": value} if needed else {}


@UNTAKEN
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["numpy", *(pytest.param(name, marks=pytest.mark.wide) for name in ELSEWHERE)])
def test_updates_and_states_are_optaxs(name: str, case: str) -> None:
    check(name, case)


@UNTAKEN
@pytest.mark.parametrize("case", ["without what is not finite", "reduce_on_plateau, cooling down", "inject a state"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_on_every_library(name: str, case: str) -> None:
    check(name, case)


def check(name: str, case: str) -> None:
    backend, tx = require(name), CASES[case].mine()
    with float64("jax"):
        params = moved(start(case), backend)
        state = tx.init(params)
        for k, (grads, value, theirs) in enumerate(zip(stream(case), VALUES, walk_of_optax(case), strict=True)):
            updates, state = tx.update(moved(grads, backend), state, params, **extra(case, value))
            updates, state = settled((updates, state), backend)
            params = settled(uniopt.apply_updates(params, updates), backend)
            found, expected = uniopt.tree.flatten((updates, state)), uniopt.tree.flatten(theirs)
            paths = uniopt.tree.paths(found[1], "(updates, state)")
            assert paths == uniopt.tree.paths(expected[1], "(updates, state)")
            for path, x, y in zip(paths, found[0], expected[0], strict=True):
                mine, other = host(x, backend), np.asarray(y)
                assert (mine.dtype.kind, mine.shape) == (other.dtype.kind, other.shape), path
                tolerance = 1e-6 if "float32" in case else 1e-12
                np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance, err_msg=f"step {k}: {path}")
