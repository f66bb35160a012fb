"""The error unit: an ulp of the largest value or distance moved so far, and where two paths part."""

from __future__ import annotations

import math

import numpy as np
import pytest
from uniopt.conformance.error_unit import differences, ulp


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-30, 0.75, 1.0, 1.5, 3e38])
def test_ulp_is_numpys_spacing(scale: float) -> None:
    assert ulp(scale, "float64") == np.spacing(scale)
    single = np.float32(scale)
    assert ulp(float(single), "float32") == np.spacing(single)


def test_ulp_of_sixteen_bits() -> None:
    assert ulp(1.0, "bfloat16") == 2.0**-7
    assert ulp(1.0, "float16") == float(np.spacing(np.float16(1.0)))


def test_the_unit_is_that_of_the_leaf_not_of_the_element() -> None:
    start, expected = np.asarray([0.0, 0.0]), np.asarray([1.0, 1e-9])
    (place,) = differences([[start], [np.asarray([1.0, 1.5e-9])]], [[start], [expected]], ["p"], "float64")
    assert place.ulp == pytest.approx(0.5e-9 / 2.0**-52)
    assert (place.step, place.leaf, place.index, place.expected, place.found) == (1, "p", (1,), 1e-9, 1.5e-9)


def test_the_unit_counts_the_distance_moved_and_never_falls() -> None:
    path = [[np.asarray([8.0])], [np.asarray([0.5])], [np.asarray([0.5])]]
    off = [[np.asarray([8.0])], [np.asarray([0.5])], [np.asarray([0.5 + 2.0**-49])]]
    first, second = differences(off, path, ["p"], "float64")
    assert first.ulp == 0.0
    assert second.ulp == 1.0  # of an ulp of 8


def test_the_worst_leaf_is_named_and_empty_ones_are_passed_over() -> None:
    start = [np.zeros((0, 3)), None, np.zeros(2), np.zeros(2)]
    expected = [np.zeros((0, 3)), None, np.ones(2), np.ones(2)]
    found = [np.zeros((0, 3)), None, np.ones(2), np.asarray([1.0, 1.0 + 2.0**-52])]
    (place,) = differences([start, found], [start, expected], ["a", "b", "c", "d"], "float64")
    assert (place.leaf, place.index, place.ulp) == ("d", (1,), 1.0)


@pytest.mark.parametrize(
    ("expected", "found", "error"),
    [
        (math.nan, math.nan, 0.0),
        (math.inf, math.inf, 0.0),
        (math.inf, -math.inf, math.inf),
        (math.nan, 1.0, math.inf),
        (1.0, math.nan, math.inf),
        (1.0, math.inf, math.inf),
    ],
)
def test_values_that_are_not_finite(expected: float, found: float, error: float) -> None:
    start = np.ones(1)
    (place,) = differences([[start], [np.asarray([found])]], [[start], [np.asarray([expected])]], ["p"], "float64")
    assert place.ulp == error


def test_paths_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 steps, the other 0"):
        differences([[np.ones(1)]] * 2, [[np.ones(1)]], ["p"], "float64")
