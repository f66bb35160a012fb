"""Arguments, and combinations of arguments, that no setting of the suite and no dialect gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import uniopt
from uniopt.transforms.decay import add_decayed_weights


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for check in (
        a_corrected_average_begins_late,
        a_mask_says_what_decays_first,
        a_step_by_itself_is_a_round,
        adafactor_may_clamp_by_the_spacing,
        radam_takes_an_array_as_b2,
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


def adafactor_may_clamp_by_the_spacing() -> None:
    for last_axes in (False, True):
        tx = uniopt.scale_by_factored_rms(factored=False, epsilon=None, clamp_estimate=True, last_axes=last_axes)
        small = np.full(2, 1e-30)
        assert np.allclose(tx.update(small, tx.init(small))[0], small / np.finfo(float).eps)
        with pytest.raises(uniopt.errors.HyperparameterError, match="epsilon"):
            uniopt.scale_by_factored_rms(epsilon=None, last_axes=last_axes)


def radam_takes_an_array_as_b2() -> None:
    rng = np.random.default_rng(0)
    stream = rng.standard_normal((12, 3))
    ends = []
    for b2 in (0.9, np.asarray(0.9)):
        tx, params = uniopt.radam(0.125, b2=b2), np.ones(3)
        state = tx.init(params)
        for gradient in stream:
            updates, state = tx.update(gradient, state, params)
            params = uniopt.apply_updates(params, updates)
        ends.append(params)
    assert np.allclose(ends[0], ends[1], rtol=1e-12)


def weights_may_decay_in_proportion_to_zero() -> None:
    params = np.asarray([3.0, -4.0, 0.0, 0.0])
    tx = add_decayed_weights(0.5, min_scale=0.0)
    assert np.allclose(tx.update(np.zeros(4), tx.init(params), params)[0], 0.5 * 2.5 * params)
    tx = add_decayed_weights(0.0, min_scale=0.5)
    assert not tx.update(np.zeros(4), tx.init(params), params)[0].any()
