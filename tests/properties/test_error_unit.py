"""The measure itself."""

from __future__ import annotations

import numpy as np
import pytest

from tests.properties.error_unit import relative, ulps


def walk(*values: list[float], dtype: str = "float32") -> list[list[np.ndarray]]:
    return [[np.asarray(v, dtype=dtype)] for v in values]


def test_one_ulp_of_the_largest_value() -> None:
    reference = walk([0.0, 0.0], [1.5, 1e-6])
    off = walk([0.0, 0.0], [1.5, 1e-6 + 2.0**-23])
    assert ulps(off, reference).value == pytest.approx(1.0, abs=1e-3)


def test_one_ulp_of_the_distance_moved() -> None:
    reference, off = walk([-1.5], [1.25]), walk([-1.5], [1.25 + 2.0**-22])
    assert ulps(off, reference).value == 1.0


def test_the_unit_never_falls() -> None:
    reference, off = walk([0.0], [4.0], [0.0]), walk([0.0], [4.0], [2.0**-21])
    worst = ulps(off, reference)
    assert (worst.value, worst.step, worst.leaf) == (1.0, 2, 0)


def test_nan_and_inf_count() -> None:
    assert not ulps(walk([1.0], [np.nan]), walk([1.0], [1.0])).value <= 4
    assert not relative(walk([1.0], [np.inf]), walk([1.0], [1.0])).value <= 4


def test_shape_and_dtype_count() -> None:
    with pytest.raises(AssertionError, match="shape"):
        ulps(walk([1.0]), walk([1.0, 2.0]))
    with pytest.raises(AssertionError, match="dtype"):
        ulps(walk([1.0], dtype="float64"), walk([1.0]))


def test_an_empty_leaf_has_no_error() -> None:
    assert ulps(walk([], []), walk([], [])).value == 0
