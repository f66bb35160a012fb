"""What rounding takes from a parameter is kept and given back, as loops over Python numbers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import uniopt
from tests.fusion.walks import normal, numpy_dtype
from tests.precision.walks import repeated, rounded, walked

HALVES = ("bfloat16", "float16")


def by_loops(start: Any, gradients: list[Any], rate: float, dtype: str) -> list[tuple[list[float], list[float]]]:
    """Return parameters and compensations after each step of gradient descent, element by element."""
    params, lost, path = [float(p) for p in start], [0.0] * len(start), []
    for gradient in gradients:
        for i, g in enumerate(gradient):
            due = float(np.float32(np.float32(-rate * float(g)) + np.float32(lost[i])))
            after = float(rounded(np.float32(params[i]) + np.float32(due), dtype))
            lost[i] = float(rounded(due - (after - params[i]), dtype))
            params[i] = after
        path.append((list(params), list(lost)))
    return path


@pytest.mark.parametrize("dtype", HALVES)
def test_compensation_is_what_was_lost(dtype: str) -> None:
    draw = normal("kahan", dtype)
    start, gradients = draw(50), [draw(50) for _ in range(20)]
    tx = uniopt.chain(uniopt.scale(-(2.0**-9)), uniopt.kahan_summation())
    path = by_loops(start, gradients, 2.0**-9, dtype)
    for (params, state), (expected, lost) in zip(walked("numpy", tx, start, gradients), path, strict=True):
        np.testing.assert_array_equal(params, expected)
        np.testing.assert_array_equal(state[1].compensation, lost)
    assert any(lost)


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 18), ("float16", 24)])
def test_what_is_lost_for_good_is_half_a_unit_of_the_compensation(dtype: str, bits: int) -> None:
    """A thousand steps from 1.0: parameter and compensation together are off by no more than that in each of them."""
    tx, rate = uniopt.kahan_summation(), 1e-4
    params = np.full(3, 2.0, numpy_dtype(dtype))
    state = tx.init(params)
    for k in range(1, 1001):
        updates, state = tx.update(np.full(3, -rate, np.float32), state, params)
        params = uniopt.apply_updates(params, updates)
        both = params.astype(np.float64) + state.compensation.astype(np.float64)
        assert np.max(np.abs(both - (2.0 - k * float(np.float32(rate))))) <= 2 * k * 2.0**-bits


def test_its_memory_is_the_parameters() -> None:
    params = {"half": np.ones(5, np.float16), "wide": np.ones(5, np.float32)}
    (leaf,) = uniopt.summary(uniopt.kahan_summation().init(params)).leaves
    assert (leaf.path, leaf.dtype, leaf.bytes) == ("KahanSummationState.compensation['half']", "float16", 10)


def test_it_is_right_where_the_difference_is_no_16_bit_number() -> None:
    """From 1 + 2**-7 to -1 is 2 + 2**-7, which has nine bits."""
    params = np.asarray([1.0 + 2.0**-7], numpy_dtype("bfloat16"))
    for tx in (uniopt.kahan_summation(), uniopt.stochastic_rounding()):
        updates, _ = tx.update(np.asarray([-2.0 - 2.0**-7], np.float32), tx.init(params), params)
        assert uniopt.apply_updates(params, updates).tolist() == [-1.0]


def test_a_long_way_in_short_steps() -> None:
    found = repeated(uniopt.chain(uniopt.sgd(1e-5), uniopt.kahan_summation()), np.ones(3, np.float16), 1.0, 20_000)
    assert np.all(np.abs(found.astype(np.float64) - 0.8) < 2.0**-11)
