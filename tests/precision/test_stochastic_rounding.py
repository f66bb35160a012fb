"""Rounded to a neighbour, right in the mean, with the variance that the formula says; the same bits everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import uniopt
from tests.fusion.walks import numpy_dtype
from tests.precision.walks import exact, repeated

HALVES = ("bfloat16", "float16")


def step(params: Any, update: Any, key: int = 0) -> Any:
    """Return NumPy parameters after one step by an update in float32."""
    tx = uniopt.stochastic_rounding(key)
    updates, _ = tx.update(np.asarray(update, np.float32), tx.init(params), params)
    return uniopt.apply_updates(params, updates)


def numbers(dtype: str) -> Any:
    """Return every finite number of the dtype but the largest ones, next to which there is no other."""
    patterns = np.arange(2**16, dtype=np.uint16)
    largest = {"bfloat16": 0x7F7F, "float16": 0x7BFF}[dtype]
    return patterns[(patterns & 0x7FFF) < largest].view(numpy_dtype(dtype))


def neighbours(x: float, dtype: str) -> tuple[float, float]:
    """Return the largest number of the dtype that is not above `x`, and the smallest that is above it."""
    every = np.unique(numbers(dtype).astype(np.float64))
    i = int(np.searchsorted(every, x, side="right"))
    return float(every[i - 1]), float(every[i])


# At both ends of a binade, across its end, at 0, and among the subnormal numbers of float16.
STARTS = [1.0, -1.0, 1.25, 1.9921875, -3.984375, 0.0, 3.0517578125e-05]
SHARES = [0.01, 0.25, 0.5, 0.9]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_mean_and_variance(start: float, dtype: str, direction: float) -> None:
    n = 20_000
    params = np.full(n, start, numpy_dtype(dtype))
    low, high = neighbours(start, dtype)
    below, _ = neighbours(np.nextafter(low, -np.inf), dtype)
    spacing = high - low if direction > 0 else low - below
    if spacing < 2.0**-126:  # float32 itself has no more than that around 0 on every library
        spacing = 2.0**-100
    for share in SHARES:
        target = float(np.float32(start) + np.float32(direction * share * spacing))
        a, b = neighbours(target, dtype)
        q, h = (target - a) / (b - a), b - a
        found = exact(step(params, np.full(n, target - start), key=17)).astype(np.float64)
        assert set(np.unique(found)) <= {a, b}
        # Five deviations of a mean of n; the seed is fixed.
        assert abs(found.mean() - target) <= 5 * h * np.sqrt(q * (1 - q) / n)
        assert abs(found.var() - h * h * q * (1 - q)) <= 5 * h * h * np.sqrt(q * (1 - q) / n)


def test_numbers_of_the_dtype_stay() -> None:
    for dtype in HALVES:
        every = numbers(dtype)
        np.testing.assert_array_equal(step(every, np.zeros(len(every))), every)


@pytest.mark.parametrize("dtype", HALVES)
def test_each_chance_is_exact(dtype: str) -> None:
    """With every value of the 2**13 (2**16) between two neighbours once, as many are rounded up as there shall be."""
    bits = {"bfloat16": 16, "float16": 13}[dtype]
    spacing = {"bfloat16": 2.0**-7, "float16": 2.0**-10}[dtype]
    shares = np.arange(2**bits) / 2**bits
    params = np.ones(2**bits, numpy_dtype(dtype))
    up = np.mean([exact(step(params, shares * spacing, key)) > 1.0 for key in range(32)], axis=0)
    # Binomial, each within six deviations, and all together within four.
    deviation = np.sqrt(np.maximum(shares * (1 - shares), 1e-9) / 32)
    assert np.all(np.abs(up - shares) <= 6 * deviation + 1 / 32)
    assert abs((up - shares).mean()) <= 4 * np.sqrt((shares * (1 - shares)).sum() / 32) / len(shares)


def test_short_steps_add_up_with_the_variance_of_the_distance() -> None:
    n, rate, steps = 4000, 1e-4, 1000
    tx = uniopt.chain(uniopt.sgd(rate), uniopt.stochastic_rounding(3))
    found = exact(repeated(tx, np.full(n, 0.875, numpy_dtype("bfloat16")), 1.0, steps)).astype(np.float64)
    distance, spacing = rate * steps, 2.0**-8
    variance = (spacing - rate) * distance
    assert abs(found.mean() - (0.875 - distance)) <= 5 * np.sqrt(variance / n)
    assert abs(found.var() / variance - 1) <= 0.1


def test_leaves_and_steps_have_chances_of_their_own() -> None:
    params = {"a": np.ones(1000, np.float16), "b": np.ones(1000, np.float16)}
    updates = uniopt.tree.map(lambda p: np.full(1000, 2.0**-11, np.float32), params)
    tx = uniopt.stochastic_rounding()
    state = tx.init(params)
    first, state = tx.update(updates, state, params)
    second, _ = tx.update(updates, state, params)
    other, _ = uniopt.stochastic_rounding(1).update(updates, uniopt.stochastic_rounding(1).init(params), params)
    up = [x > 0 for x in (first["a"], first["b"], second["a"], other["a"])]
    for i, x in enumerate(up):
        for y in up[:i]:
            assert abs((x == y).mean() - 0.5) < 0.1
