"""Arguments, and combinations of arguments, that no setting of the suite and no dialect gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import jax
import numpy as np
import pytest

import uniopt
from uniopt import backends, dialects
from uniopt.transforms.decay import add_decayed_weights


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for check in (
        a_corrected_average_begins_late,
        a_mask_says_what_decays_first,
        a_step_by_itself_is_a_round,
        adafactor_adds_the_spacing_of_the_leaf,
        adafactor_may_clamp_by_the_spacing,
        averages_of_a_length_may_be_long_enough,
        no_decay_leaves_infinity_alone,
        pairs_may_have_gradients_of_examples,
        pairs_may_skip_leaves,
        polyak_of_optax_has_variants,
        radam_takes_an_array_as_b2,
        sam_averages_over_an_axis_with_a_name,
        the_state_has_gradients_of_its_own,
        what_is_left_out_is_left_out_from_the_beginning,
        weights_may_decay_in_proportion_to_zero,
    ):
        yield check.__name__, check


def a_corrected_average_begins_late() -> None:
    """Until the third step it is the parameters; then their mean with weights of 1/3 and 2/3."""
    tx, params = uniopt.params_ema(0.5, start=2), np.zeros(1)
    state = tx.init(params)
    for step in range(1, 5):
        updates, state = tx.update(np.full(1, float(step)), state, params)
        params = uniopt.apply_updates(params, updates)
        assert np.allclose(state.average, params if step < 4 else 6 / 3 + 10 * 2 / 3, rtol=1e-12)


def a_mask_says_what_decays_first() -> None:
    params = {"yes": np.ones(1), "no": np.ones(1)}
    tx = uniopt.decay_first(uniopt.scale(0.0), 0.5, 0.5, mask={"yes": True, "no": False})
    updates, _ = tx.update(params, tx.init(params), params)
    assert (updates["yes"].item(), updates["no"].item()) == (-0.25, 0.0)
    updates, _ = tx.update({"yes": params["yes"], "no": None}, tx.init(params), params)
    assert updates["no"] is None


def a_step_by_itself_is_a_round() -> None:
    params, moved = np.asarray([3.0]), []
    tx = uniopt.chain(uniopt.sgd(1.0), uniopt.overwrite_params(uniopt.params_mean(), every=2))
    state = tx.init(params)
    for _ in range(4):
        updates, state = tx.update(np.ones(1), state, params)
        params = uniopt.apply_updates(params, updates)
        moved.append(params.item())
    assert moved[:2] == [2.0, 1.5]


def adafactor_adds_the_spacing_of_the_leaf() -> None:
    """Where no epsilon is given; of float32, not of what the decay rate is computed in."""
    small = np.full((2, 2), 1e-4, np.float32)
    for made in ({"factored": False, "clamp_estimate": True}, {"min_dim_size_to_factor": 2, "clamp_estimate": True}):
        tx, given = (uniopt.scale_by_factored_rms(epsilon=x, last_axes=True, **made) for x in (None, 2.0**-23))
        assert np.array_equal(tx.update(small, tx.init(small))[0], given.update(small, given.init(small))[0])


def adafactor_may_clamp_by_the_spacing() -> None:
    for last_axes in (False, True):
        tx = uniopt.scale_by_factored_rms(factored=False, epsilon=None, clamp_estimate=True, last_axes=last_axes)
        small = np.full(2, 1e-30)
        assert np.allclose(tx.update(small, tx.init(small))[0], small / np.finfo(float).eps)
        with pytest.raises(uniopt.errors.HyperparameterError, match="epsilon"):
            uniopt.scale_by_factored_rms(epsilon=None, last_axes=last_axes)


def averages_of_a_length_may_be_long_enough() -> None:
    """A threshold that is just reached is enough, except in torch."""
    radam = import_module("uniopt.optimizers.radam")  # of this name, the package shows the function
    length, params = radam._length(np, np.asarray(8.0), 0.9), np.ones(2)
    for above in (False, True):
        tx = uniopt.scale_by_radam(b2=0.9, threshold=float(length), above_threshold=above)
        state = tx.init(params)
        for _ in range(8):
            updates, state = tx.update(0.25 * params, state)
        assert np.allclose(updates, 0.25) == above


def no_decay_leaves_infinity_alone() -> None:
    params = np.asarray([np.inf, 1.0])
    tx = add_decayed_weights(0.0)
    assert np.array_equal(tx.update(np.ones(2), tx.init(params), params)[0], np.ones(2))


def pairs_may_have_gradients_of_examples() -> None:
    params = uniopt.LookaheadParams.init_synced(np.ones(2))
    private = uniopt.chain(uniopt.differentially_private_aggregate(10.0, 0.0, 0), uniopt.sgd(1.0))
    tx = uniopt.lookahead(private, 3, 0.5)
    updates, _ = tx.update(np.asarray([[1.0, 2.0], [3.0, 4.0]]), tx.init(params), params)
    assert np.allclose(updates.fast, [-2.0, -3.0])


def pairs_may_skip_leaves() -> None:
    """Each fast parameter counts its own steps, where a transformation does."""
    inner = dialects.torch.Adam(0.125)
    tx, start, ones = uniopt.lookahead(inner, 5, 0.5), {"a": np.ones(2), "b": np.ones(2)}, np.ones(2)
    params = uniopt.LookaheadParams.init_synced(start)
    state, alone = tx.init(params), inner.init(start)
    for gradient in ({"a": ones, "b": None}, {"a": 2 * ones, "b": ones}, {"a": None, "b": 3 * ones}):
        updates, state = tx.update(gradient, state, params)
        expected, alone = inner.update(gradient, alone, start)
        for name in start:
            assert (updates.fast[name] is None) == (expected[name] is None)
            assert expected[name] is None or np.array_equal(updates.fast[name], expected[name])


def polyak_of_optax_has_variants() -> None:
    """Below the minimum, "sps+" stays where it is, and "sps" goes up."""
    params = np.ones(1)
    for variant, expected in (("sps", 0.25), ("sps+", 0.0)):
        tx = dialects.optax.polyak_sgd(f_min=1.0, variant=variant)
        assert np.allclose(tx.update(2 * params, tx.init(params), params, value=0.5)[0], expected)


def radam_takes_an_array_as_b2() -> None:
    rng = np.random.default_rng(0)
    strict = backends.get("array_api_strict")
    stream = [strict.asarray(gradient) for gradient in rng.standard_normal((12, 3))]
    ends = []
    for b2 in (0.9, strict.asarray(0.9)):
        tx, params = uniopt.radam(0.125, b2=b2), strict.xp.ones(3)
        state = tx.init(params)
        for gradient in stream:
            updates, state = tx.update(gradient, state, params)
            params = uniopt.apply_updates(params, updates)
        ends.append(strict.to_numpy(params))
    assert np.allclose(ends[0], ends[1], rtol=1e-12)


def sam_averages_over_an_axis_with_a_name() -> None:
    """The climb is to 1 + 2, where the gradients of the two members are 3 and 9."""
    for name, expected in (("batch", [-6.0, -6.0]), (None, [-3.0, -9.0])):
        descent = uniopt.sgd(1.0)
        tx = uniopt.sam(descent, descent, opaque_mode=True, batch_axis_name=name)
        assert ("batch_axis_name='batch'" in repr(tx)) == (name is not None)

        def move(slope: Any, tx: uniopt.GradientTransformation = tx) -> Any:
            params = jax.numpy.ones(1)
            return tx.update(2 * params, tx.init(params), params, grad_fn=lambda p, i: slope * p)[0]

        found = jax.vmap(move, axis_name="batch")(jax.numpy.asarray([1.0, 3.0]))
        assert np.allclose(found[:, 0], expected)


def the_state_has_gradients_of_its_own() -> None:
    """Gradients are often set to 0 in place after a step."""
    for tx in (uniopt.adan(0.5), uniopt.optimistic_gradient_descent(0.5)):
        ends = []
        for zeroed in (False, True):
            params = np.ones(2)
            state = tx.init(params)
            for step in range(3):
                gradient = np.asarray([1.0, -2.0]) * (step + 1)
                updates, state = tx.update(gradient, state, params)
                params = uniopt.apply_updates(params, updates)
                if zeroed:
                    gradient[...] = 0.0
            ends.append(params)
        assert np.array_equal(*ends)


def what_is_left_out_is_left_out_from_the_beginning() -> None:
    """Even where there is no parameter."""
    params = {"in": np.ones(2), "out": None}
    trace = uniopt.trace(0.5)
    masked = uniopt.masked(trace, {"in": True, "out": False}).init(params)
    parts = uniopt.partition({"a": trace, "b": trace}, {"in": "a", "out": "b"}).init(params).inner_states
    for state, name in ((masked, "out"), (parts["a"], "out"), (parts["b"], "in")):
        assert isinstance(state.inner_state.trace[name], uniopt.MaskedNode)


def weights_may_decay_in_proportion_to_zero() -> None:
    params = np.asarray([3.0, -4.0, 0.0, 0.0])
    tx = add_decayed_weights(0.5, min_scale=0.0)
    assert np.allclose(tx.update(np.zeros(4), tx.init(params), params)[0], 0.5 * 2.5 * params)
    tx = add_decayed_weights(0.0, min_scale=0.5)
    assert not tx.update(np.zeros(4), tx.init(params), params)[0].any()
