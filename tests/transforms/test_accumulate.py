"""Accumulation: what is computed when, what a NaN can reach, resuming in the middle, and the class that is a pair."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import gradients, host, moved, parameters, settled, small_tree
from tests.shown import SHOWN
from uniopt.errors import HyperparameterError, ScheduleError, StateError

F = np.float32


class Counted:
    """A transformation that counts how often its update is computed."""

    def __init__(self) -> None:
        self.calls = 0
        self.tx = uniopt.stateless(self)

    def __call__(self, updates: Any, params: Any) -> Any:
        self.calls += 1
        return updates


def walk(tx: Any, stream: list[Any], backend: Backend, start: Any, state: Any = None) -> tuple[list[Any], Any, Any]:
    """Return the updates of each step, the last state and the parameters."""
    params = moved(start, backend)
    state = tx.init(params) if state is None else state
    seen = []
    for grads in stream:
        updates, state = settled(tx.update(moved(grads, backend), state, params), backend)
        params = settled(uniopt.apply_updates(params, updates), backend)
        seen.append(host(updates, backend))
    return seen, state, host(params, backend)


def equal(x: Any, y: Any) -> None:
    for a, b in zip(uniopt.tree.leaves(x), uniopt.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx", "array_api_strict"])
def test_the_inner_work_is_done_once_for_k_mini_steps(name: str) -> None:
    inner = Counted()
    walk(
        uniopt.MultiSteps(inner.tx, 4),
        gradients(1, 10, F, small_tree),
        require(name),
        parameters(2, F, tree=small_tree),
    )
    assert inner.calls == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda tx: uniopt.conditionally_mask(tx, lambda n: n == 2),
        lambda tx: uniopt.conditionally_transform(tx, lambda n: n == 2),
        lambda tx: uniopt.dynamic_loss_scaling(uniopt.chain(uniopt.conditionally_mask(tx, lambda n: n == 2))),
    ],
)
def test_nothing_is_computed_in_the_other_steps(make: Any) -> None:
    inner = Counted()
    walk(make(inner.tx), gradients(1, 5, F, small_tree), require("numpy"), parameters(2, F, tree=small_tree))
    assert inner.calls == 1


def test_jax_computes_it_under_its_own_conditional() -> None:
    import jax

    tx, params = uniopt.MultiSteps(uniopt.adam(0.1), 4), {"w": np.ones(3, F)}
    params = moved(params, require("jax"))
    traced = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
    always = {equation.primitive.name for equation in traced.jaxpr.eqns}
    assert "cond" in always
    assert always.isdisjoint({"sqrt", "expm1", "exp"})
    assert "sqrt" in str(traced)


def test_k_mini_steps_are_one_step_with_their_mean(backend: Backend) -> None:
    start, stream = parameters(3, F, tree=small_tree), gradients(4, 6, F, small_tree)
    mean = [uniopt.tree.map(lambda *g: np.asarray(np.mean(g, axis=0), F), *stream[i : i + 3]) for i in (0, 3)]
    seen, state, found = walk(uniopt.MultiSteps(uniopt.adamw(0.1), 3), stream, backend, start)
    _, plain, expected = walk(uniopt.adamw(0.1), mean, backend, start)
    for x, y in zip(uniopt.tree.leaves(found), uniopt.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    assert int(backend.to_numpy(state.inner_opt_state[0].count)) == int(backend.to_numpy(plain[0].count)) == 2
    for k in (0, 1, 3, 4):
        assert not any(x.any() for x in uniopt.tree.leaves(seen[k]))
    assert not any(x.any() for x in uniopt.tree.leaves(host(state.acc_grads, backend)))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # on Dask, both sides are computed
def test_a_nan_does_not_outlive_the_update(backend: Backend) -> None:
    """Without a function that leaves it out it spoils its own mean, and not the next one."""
    ones = np.ones(2, F)
    stream = [ones, ones * np.nan, ones, 3 * ones]
    for tx in (uniopt.MultiSteps(uniopt.sgd(1.0), 2), uniopt.MultiSteps(uniopt.sgd(1.0), 2, use_grad_mean=False)):
        params, state, seen = moved(ones, backend), None, []
        state = tx.init(params)
        for grads in stream:
            updates, state = settled(tx.update(moved(grads, backend), state, params), backend)
            seen.append(backend.to_numpy(updates))
        assert np.isnan(seen[1]).all()
        np.testing.assert_array_equal(seen[3], -2 * ones if "use_grad_mean" not in repr(tx) else -4 * ones)
        np.testing.assert_array_equal(seen[2], 0 * ones)
    tx = uniopt.apply_every(2)
    seen, _, _ = walk(tx, stream, backend, ones)
    np.testing.assert_array_equal(seen[3], 4 * ones)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_mini_step_that_is_left_out_leaves_nothing_behind(backend: Backend, compiled: bool) -> None:
    compiled = compiled and backend.name != "mlx"  # its compiler takes half a minute for both sides
    start, stream = parameters(5, F, tree=small_tree), gradients(6, 4, F, small_tree)
    bad = uniopt.tree.map(lambda g: np.asarray(g * np.nan, F), stream[0])
    tx = uniopt.MultiSteps(uniopt.adam(0.1), 2, should_skip_update_fn=uniopt.skip_not_finite)

    def run(stream: list[Any]) -> Any:
        params = moved(start, backend)
        state = tx.init(params)
        step = uniopt.compile(tx)
        for grads in stream:
            if compiled:
                params, state = settled(step(moved(grads, backend), state, params), backend)
            else:
                updates, state = tx.update(moved(grads, backend), state, params)
                params, state = settled((uniopt.apply_updates(params, updates), state), backend)
        return host((params, state._replace(skip_state=())), backend)

    equal(run([bad, stream[0], bad, bad, stream[1], bad, *stream[2:], bad]), run(stream))


def test_a_saved_state_goes_on_in_the_middle() -> None:
    start, stream = parameters(7, tree=small_tree), gradients(8, 9, tree=small_tree)
    backend = require("numpy")
    for make in (
        lambda: uniopt.MultiSteps(uniopt.adam(0.1), 4, should_skip_update_fn=uniopt.skip_not_finite),
        lambda: uniopt.chain(uniopt.apply_every(4), uniopt.adam(0.1)),
        lambda: uniopt.inject_hyperparams(uniopt.MultiSteps)(uniopt.adam(uniopt.linear_schedule(0.5, 0.0, 5)), 4),
        lambda: uniopt.dynamic_loss_scaling(uniopt.adam(0.1), growth_interval=4),
        lambda: uniopt.conditionally_mask(uniopt.adam(0.1), lambda n: n % 3 == 2),
    ):
        expected = walk(make(), stream, backend, start)
        for cut in (2, 5, 6):
            _, state, params = walk(make(), stream[:cut], backend, start)
            kept, values = pickle.dumps(state), pickle.dumps(params)
            found = walk(make(), stream[cut:], backend, pickle.loads(values), pickle.loads(kept))
            equal(found[1:], expected[1:])


def test_it_is_a_pair_and_a_value() -> None:
    tx = uniopt.MultiSteps(uniopt.sgd(0.5), 2, use_grad_mean=False)
    init, update = tx
    params = np.asarray([1.0, 2.0])
    updates, _ = update(updates=params, state=init(params=params), params=params)
    np.testing.assert_array_equal(updates, 0.0)
    assert isinstance(tx, uniopt.GradientTransformation)
    assert tx.gradient_transformation() == tx
    assert type(tx.gradient_transformation()) is uniopt.GradientTransformation
    assert tx.inner_opt == uniopt.sgd(0.5)
    assert tx == eval(repr(tx), dict(SHOWN))
    assert tx != uniopt.MultiSteps(uniopt.sgd(0.5), 2)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(tx, protocol))
        assert copy == tx
        assert type(copy) is uniopt.MultiSteps
    everything = uniopt.MultiSteps(
        uniopt.sgd(0.5), uniopt.constant_schedule(3), True, uniopt.skip_not_finite, "float32"
    )
    assert pickle.loads(pickle.dumps(everything)) == everything


def test_it_can_be_chained_and_wrapped() -> None:
    params = np.asarray([1.0, 2.0])
    tx = uniopt.chain(uniopt.MultiSteps(uniopt.scale(-1.0), 2), uniopt.scale(2.0))
    nested = uniopt.MultiSteps(uniopt.MultiSteps(uniopt.scale(-2.0), 2), 2)
    for make, last in ((tx, 1), (nested, 3)):
        seen, _, _ = walk(make, [params] * 4, require("numpy"), params)
        for k in range(4):
            np.testing.assert_array_equal(seen[k], -2 * params if k % (last + 1) == last else 0 * params)


def test_optax_accumulates_for_uniopt_and_the_other_way_round() -> None:
    import jax
    import optax

    backend = require("jax")
    params = moved({"w": np.ones(3, F)}, backend)
    for tx in (
        uniopt.MultiSteps(optax.adam(0.5), 2),
        optax.chain(uniopt.MultiSteps(uniopt.adam(0.5), 2), optax.identity()),
        optax.MultiSteps(uniopt.adam(0.5), 2),
    ):
        state, update = tx.init(params), jax.jit(tx.update)
        for expected in (0.0, -0.5, 0.0):
            updates, state = update(params, state, params)
            np.testing.assert_allclose(updates["w"], expected, rtol=1e-5)


def test_a_missing_gradient_is_skipped(backend: Backend) -> None:
    params = moved({"w": np.ones(2, F), "b": np.ones(3, F)}, backend)
    grads = {"w": params["w"], "b": None}
    for tx in (
        uniopt.MultiSteps(uniopt.adam(0.5), 2, should_skip_update_fn=uniopt.skip_not_finite),
        uniopt.apply_every(2),
        uniopt.apply_if_finite(uniopt.adam(0.5), 1),
        uniopt.conditionally_mask(uniopt.adam(0.5), lambda n: n == 1),
        uniopt.reduce_on_plateau(),
        uniopt.dynamic_loss_scaling(uniopt.adam(0.5)),
        uniopt.inject_hyperparams(uniopt.adam)(0.5),
    ):
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(grads, state, params, value=1.0)
            assert updates["b"] is None
        assert host(updates, backend)["w"].any()
        updates, _ = tx.update({"w": None, "b": None}, state, params, value=1.0)
        assert updates == {"w": None, "b": None}


def test_the_number_of_mini_steps_is_rounded(backend: Backend) -> None:
    ones = np.ones(2, F)
    for schedule in (lambda n: 1.9999, lambda n: np.float64(2.0), uniopt.constant_schedule(2), lambda n: n - n + 2):
        seen, _, _ = walk(uniopt.MultiSteps(uniopt.sgd(1.0), schedule), [ones] * 4, backend, ones)
        assert [bool(x.any()) for x in seen] == [False, True, False, True]


def test_the_skip_functions_note_what_they_saw(backend: Backend) -> None:
    half = np.float16 if "float16" in backend.dtypes() else F
    grads = moved({"w": np.asarray([3.0, 4.0], half), "b": np.asarray([[np.inf, np.nan, 1.0]], F)}, backend)
    count = backend.asarray(0, dtype=backend.xp.int32)
    skip, seen = uniopt.skip_not_finite(grads, count, None)
    assert bool(skip)
    assert bool(seen["should_skip"])
    assert int(seen["num_not_finite"]) == 2
    skip, seen = uniopt.skip_not_finite({"w": grads["w"], "b": None}, count, None)
    assert not bool(skip)
    for bound, large in ((25.0, True), (25.5, False)):
        skip, seen = uniopt.skip_large_updates({"w": grads["w"]}, count, None, bound)
        assert bool(skip) == large
        assert float(seen["norm_squared"]) == 25.0
    assert not bool(uniopt.skip_large_updates({"w": None}, count, None, 1.0)[0])


@pytest.mark.parametrize("k", [0, -1, 1.5, "two", None, True])
def test_a_wrong_number_of_mini_steps(k: Any) -> None:
    with pytest.raises(HyperparameterError, match=r"every_k_schedule is .* not below 1"):
        uniopt.MultiSteps(uniopt.sgd(0.1), k)
    with pytest.raises(HyperparameterError, match="k is "):
        uniopt.apply_every(k)


def test_wrong_functions_and_states() -> None:
    params = np.ones(2)
    tx = uniopt.MultiSteps(uniopt.sgd(0.1), lambda n: np.ones(2))
    state = tx.init(params)
    with pytest.raises(ScheduleError, match="The schedule given as every_k_schedule returned"):
        tx.update(params, state, params)
    for wrong in (False, (params > 0.0, ()), (1, ()), (np.asarray(1.0), ())):
        tx = uniopt.MultiSteps(uniopt.sgd(0.1), 2, should_skip_update_fn=lambda *_, wrong=wrong: wrong)
        with pytest.raises(HyperparameterError, match="should_skip_update_fn returned"):
            tx.init(params)
    tx = uniopt.conditionally_mask(uniopt.sgd(0.1), lambda n: n)
    state = tx.init(params)
    with pytest.raises(HyperparameterError, match="should_transform_fn returned"):
        tx.update(params, state, params)
    with pytest.raises(HyperparameterError, match="max_consecutive_errors"):
        uniopt.apply_if_finite(uniopt.sgd(0.1), -1)
    for tx in (
        uniopt.MultiSteps(uniopt.sgd(0.1), 2),
        uniopt.apply_every(2),
        uniopt.apply_if_finite(uniopt.sgd(0.1), 1),
        uniopt.conditionally_mask(uniopt.sgd(0.1), lambda n: True),
        uniopt.conditionally_transform(uniopt.sgd(0.1), lambda n: True),
        uniopt.dynamic_loss_scaling(uniopt.sgd(0.1)),
        uniopt.inject_hyperparams(uniopt.sgd)(0.1),
        uniopt.reduce_on_plateau(),
    ):
        with pytest.raises(StateError, match="was given a state"):
            tx.update(params, uniopt.EmptyState(), params, value=1.0)
    tx = uniopt.MultiSteps(uniopt.sgd(0.1), 2)
    with pytest.raises(StateError, match=r"state\.acc_grads"):
        tx.update(params, tx.init({"other": params}), params)
