"""What each wrapper promises by itself: its parameters, its state, what it does not compute, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import host, moved
from tests.properties.wrapped import assert_close
from uniopt import errors, tree

F = np.float32


def test_first_states_have_no_history() -> None:
    """The parameters of torch may require gradients; what a state keeps of them is no part of their graph."""
    import torch

    params = {"w": torch.ones(2, requires_grad=True), "h": torch.ones(2, dtype=torch.bfloat16, requires_grad=True)}
    for tx in (
        uniopt.sam(uniopt.sgd(0.1), uniopt.sgd(0.1)),
        uniopt.schedule_free_sgd(0.1),
        uniopt.mechanize(uniopt.sgd(0.1)),
        uniopt.master_weights(uniopt.sgd(0.1)),
        uniopt.params_ema(0.5),
    ):
        kept = uniopt.tree.leaves(tx.init(params))
        assert any(x.shape == (2,) for x in kept)
        assert not any(x.requires_grad for x in kept)


def test_caches_share_no_memory_with_the_parameters() -> None:
    """A user who adds updates in place does not change what the state remembers."""
    for tx in (
        uniopt.sam(uniopt.sgd(0.5), uniopt.sgd(1.0)),
        uniopt.mechanize(uniopt.sgd(1.0)),
        uniopt.schedule_free_sgd(),
    ):
        params = np.asarray([1.0, 2.0])
        state = tx.init(params)
        assert not any(np.shares_memory(x, params) for x in tree.leaves(state))
        _, state = tx.update(np.ones(2), state, params)
        assert not any(np.shares_memory(x, params) for x in tree.leaves(state))


class TestLookahead:
    """Fast and slow parameters."""

    def test_init_takes_either(self) -> None:
        tx, params = uniopt.lookahead(uniopt.adam(0.1), 2, 0.5), {"w": np.ones(2)}
        for x, y in zip(
            tree.leaves(tx.init(params)), tree.leaves(tx.init(uniopt.LookaheadParams.init_synced(params))), strict=True
        ):
            np.testing.assert_array_equal(x, y)

    def test_optaxs_pairs(self) -> None:
        import optax

        params = optax.LookaheadParams.init_synced(moved({"w": np.asarray([4.0], F)}, require("jax")))
        tx = uniopt.lookahead(uniopt.sgd(0.5), 1, 0.5)
        updates, _ = tx.update(params.fast, tx.init(params), params)
        after = optax.apply_updates(params, updates)
        assert isinstance(after, optax.LookaheadParams)
        assert (float(after.fast["w"][0]), float(after.slow["w"][0])) == (3.0, 3.0)

    def test_both_are_alike_after_a_synchronization(self, backend: Backend) -> None:
        tx = uniopt.lookahead(uniopt.sgd(0.25), 2, 0.5)
        params = uniopt.LookaheadParams.init_synced(moved({"w": np.asarray([4.0, -8.0], F)}, backend))
        state, alike = tx.init(params), []
        for _ in range(4):
            updates, state = tx.update(params.fast, state, params)
            params = uniopt.apply_updates(params, updates)
            fast, slow = host(params, backend)
            alike.append(bool((fast["w"] == slow["w"]).all()))
        assert alike == [False, True, False, True]
        # Each period halves the distance to what is left after two steps, 9/16.
        np.testing.assert_allclose(slow["w"], np.asarray([4.0, -8.0]) * (25 / 32) ** 2, rtol=1e-6)

    def test_what_it_does_not_transform_moves_alike(self) -> None:
        labels = {"a": "ahead", "b": "plain"}
        tx = uniopt.partition({"ahead": uniopt.lookahead(uniopt.sgd(0.5), 2, 0.5), "plain": uniopt.sgd(0.5)}, labels)
        params = uniopt.LookaheadParams.init_synced({"a": np.asarray([4.0]), "b": np.asarray([4.0])})
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(params.fast, state, params)
            params = uniopt.apply_updates(params, updates)
        assert_close(params, uniopt.LookaheadParams(*[{"a": np.asarray([2.5]), "b": np.asarray([1.0])}] * 2))

    def test_the_optimizer_begins_again_where_the_parameters_are(self) -> None:
        """What it keeps of the parameters is of the synchronized ones."""
        tx = uniopt.lookahead(uniopt.schedule_free_sgd(0.5), 2, 0.25, reset_state=True)
        params = uniopt.LookaheadParams.init_synced(np.asarray([4.0, -2.0]))
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(params.fast, state, params)
            params = uniopt.apply_updates(params, updates)
        np.testing.assert_allclose(state.fast_state.z, params.fast, rtol=1e-14)

    @pytest.mark.parametrize("params", [None, {"w": np.ones(2)}])
    def test_it_needs_both(self, params: Any) -> None:
        tx = uniopt.lookahead(uniopt.sgd(0.1), 2, 0.5)
        grads = {"w": np.ones(2)}
        with pytest.raises(errors.MissingParamsError, match="LookaheadParams"):
            tx.update(grads, tx.init(grads), params)

    def test_slow_parameters_of_another_shape(self) -> None:
        tx, params = uniopt.lookahead(uniopt.sgd(0.1), 2, 0.5), uniopt.LookaheadParams(np.ones(2), np.ones(3))
        with pytest.raises(errors.ShapeError):
            tx.update(np.ones(2), tx.init(params), params)


class TestFlatten:
    """Vectors of all leaves."""

    def test_one_vector_for_each_dtype(self) -> None:
        tx = uniopt.flatten(uniopt.trace(0.5))
        params = {"a": np.ones(2), "b": np.ones(3, F), "c": np.full((1, 2), 2.0), "d": np.asarray(4.0, F)}
        state = tx.init(params)
        assert [(x.shape, x.dtype.name) for x in state.trace] == [((4,), "float64"), ((4,), "float32")]
        updates, state = tx.update(params, state, params)
        np.testing.assert_array_equal(state.trace[0], [1, 1, 2, 2])
        np.testing.assert_array_equal(state.trace[1], [1, 1, 1, 4])
        assert_close(updates, params, rtol=0.0)

    def test_nothing(self) -> None:
        tx = uniopt.flatten(uniopt.adam(0.1))
        for nothing in ({}, {"w": None}):
            assert tx.update(nothing, tx.init(nothing), nothing)[0] == nothing


class TestScheduleFree:
    """Averages of iterates."""

    def test_evaluation(self, backend: Backend) -> None:
        """x is the weighted mean of all z."""
        tx = uniopt.schedule_free(uniopt.sgd(0.25), uniopt.linear_schedule(0.0, 0.5, 4), b1=0.75, weight_lr_power=1.0)
        params = moved({"w": np.asarray([4.0, -8.0], F), "half": np.asarray(1.0, F)}, backend)
        state, total, mean = tx.init(params), 0.0, 0.0
        for n in range(1, 5):
            updates, state = tx.update(params, state, params)
            params = uniopt.apply_updates(params, updates)
            total += 0.125 * n
            mean += 0.125 * n * host(state.z["w"], backend)
            found = host(uniopt.schedule_free_eval_params(state, params), backend)
            np.testing.assert_allclose(found["w"], mean / total, rtol=3e-6)

    def test_z_in_another_dtype_follows_what_is_stored(self) -> None:
        tx = uniopt.schedule_free_sgd(0.125, state_dtype="float16")
        params = np.asarray([1.0, -3.0])
        state = tx.init(params)
        for _ in range(4):
            before = uniopt.schedule_free_eval_params(state, params)
            updates, after = tx.update(params, state, params)
            params = uniopt.apply_updates(params, updates)
            share = 0.125**2 / float(after.weight_sum)
            expected = before + share * (after.z.astype(np.float64) - before)
            np.testing.assert_allclose(uniopt.schedule_free_eval_params(after, params), expected, rtol=1e-14)
            state = after
        assert state.z.dtype == np.float16

    def test_a_state_of_another_transformation(self) -> None:
        with pytest.raises(errors.StateError, match="ScheduleFreeState"):
            uniopt.schedule_free_eval_params(uniopt.adam(0.1).init(np.ones(2)), np.ones(2))


class TestMechanize:
    """Learnt scales."""

    def test_it_begins_where_the_first_update_does(self) -> None:
        """The parameters may be replaced after init."""
        tx, grads = uniopt.mechanize(uniopt.sgd(1.0), s_init=0.5), np.asarray([1.0, -2.0])
        late, params = tx.init(np.zeros(2)), np.asarray([3.0, 4.0])
        assert_close(tx.update(grads, late, params), tx.update(grads, tx.init(params), params), rtol=0.0)

    def test_it_finds_a_rate(self) -> None:
        tx = uniopt.mechanize(uniopt.sgd(1.0), weight_decay=0.0)
        params = np.asarray([10.0, -7.0])
        state = tx.init(params)
        for _ in range(300):
            updates, state = tx.update(params, state, params)
            params = uniopt.apply_updates(params, updates)
        assert np.abs(params).max() < 0.1

    def test_no_gradient_at_all(self) -> None:
        tx, params = uniopt.mechanize(uniopt.sgd(1.0)), {"w": np.ones(2)}
        state = tx.init(params)
        updates, after = tx.update({"w": None}, state, params)
        assert updates == {"w": None}
        np.testing.assert_array_equal(after.s, state.s)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniopt.lookahead(uniopt.sgd(0.1), 0, 0.5), "sync_period is 0"),
        (lambda: uniopt.lookahead(uniopt.sgd(0.1), 2, None), "slow_step_size is None"),
        (lambda: uniopt.sam(uniopt.sgd(0.1), uniopt.sgd(0.1), 0), "sync_period is 0"),
        (lambda: uniopt.sam(uniopt.sgd, uniopt.sgd(0.1)), "expected a gradient transformation"),
        (lambda: uniopt.schedule_free(uniopt.sgd(0.1), 0.1, b1=0.0), "b1 is 0.0"),
        (lambda: uniopt.schedule_free(uniopt.sgd(0.1), 0.1, b1=1.5), "b1 is 1.5"),
        (lambda: uniopt.schedule_free(uniopt.sgd(0.1), -0.1), "learning_rate is -0.1"),
        (lambda: uniopt.mechanize(uniopt.sgd(0.1), eps=0.0), "eps is 0.0"),
        (lambda: uniopt.mechanize(uniopt.sgd(0.1), num_betas=0), "num_betas is 0"),
        (lambda: uniopt.freeze({"w": 1}), r"mask\['w'\] is 1"),
        (lambda: uniopt.selective_transform(uniopt.sgd(0.1), freeze_mask={"w": "yes"}), "expected True or False"),
        (lambda: uniopt.monitor({"norm": 3.0}), "expected a gradient transformation"),
    ],
)
def test_bad_hyperparameters(make: Any, message: str) -> None:
    with pytest.raises(errors.HyperparameterError, match=message):
        make()


@pytest.mark.parametrize(
    "tx", [uniopt.sam(uniopt.sgd(0.1), uniopt.sgd(0.1)), uniopt.schedule_free_sgd(), uniopt.mechanize(uniopt.sgd(0.1))]
)
def test_parameters_are_needed(tx: Any) -> None:
    params = np.ones(2)
    with pytest.raises(errors.MissingParamsError, match="needs the parameters"):
        tx.update(params, tx.init(params))


def test_flatten_says_which_gradients_are_missing() -> None:
    params = {"w": np.ones(2), "b": np.ones(3)}
    tx = uniopt.flatten(uniopt.adam(0.1))
    with pytest.raises(errors.StateError, match=r"no gradient for params\['b'\].*call init with None there"):
        tx.update({"w": params["w"], "b": None}, tx.init(params), params)
    state = tx.init({"w": params["w"], "b": None})
    assert tx.update({"w": params["w"], "b": None}, state, params)[0]["b"] is None
    with pytest.raises(errors.StateError) as caught:
        tx.update(params, state, params)
    assert "no gradient" not in str(caught.value)
