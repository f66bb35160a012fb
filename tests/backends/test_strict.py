"""The standard's own way, on array-api-strict's devices."""

from __future__ import annotations

from typing import Any

import array_api_strict as xp
import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend

from tests.conftest import require

F = np.float32
HOST, FIRST, SECOND, NARROW = (xp.Device(name) for name in ("CPU_DEVICE", "device1", "device2", "no_float64"))


@pytest.fixture
def strict() -> Backend:
    return require("array_api_strict")


def test_devices(strict: Backend) -> None:
    assert {HOST, FIRST, SECOND, NARROW} <= set(strict.devices())
    x, y = (strict.from_numpy(np.ones(2, F), device=device) for device in (FIRST, SECOND))
    assert (strict.device(x), strict.device(y)) == (FIRST, SECOND)
    assert strict.device(strict.from_numpy(np.ones(2, F))) == HOST
    assert not strict.colocated(x, y)
    assert strict.colocated(x, x + 1)
    moved = strict.place(x, y)
    assert moved.device == SECOND
    assert strict.place(x, x + 1) is x
    assert strict.asarray([1.0], like=y).device == SECOND
    assert strict.asarray([1.0]).device == HOST
    assert strict.copy(y).device == SECOND


def test_values_come_from_every_device(strict: Backend) -> None:
    for device in (HOST, FIRST, SECOND):
        x = strict.from_numpy(np.asarray([1.0, 2.0], F), device=device)
        found = strict.to_numpy(x)
        np.testing.assert_array_equal(found, [1.0, 2.0])
        found[...] = 9
        np.testing.assert_array_equal(strict.to_numpy(x), [1.0, 2.0])


def test_a_device_without_float64(strict: Backend) -> None:
    assert set(strict.dtypes(NARROW)) == {"float32", "complex64"}
    assert "float64" in strict.dtypes(HOST)
    count = strict.asarray(2, dtype=xp.int32, like=strict.from_numpy(np.ones(1, F), device=NARROW))
    assert not strict.has_float64(count)
    seen: list[Any] = []
    strict.at_step(lambda xp, t: seen.append(t), count)
    assert dtype_name(seen[0].dtype) == "float32"
    assert int(seen[0]) == 3


def test_each_array_is_selected_where_it_is(strict: Any) -> None:
    x, y = (strict.from_numpy(np.ones(2, F), device=device) for device in (FIRST, SECOND))
    for predicate, sign in ((True, 1), (False, -1)):
        same, first, second = strict.select(strict.asarray(predicate), lambda: [x, x, y], lambda: [x, -x, -y])
        assert same is x
        assert (first.device, second.device) == (FIRST, SECOND)
        np.testing.assert_array_equal(strict.to_numpy(first), [sign, sign])
        np.testing.assert_array_equal(strict.to_numpy(second), [sign, sign])


def test_only_the_chosen_side_is_called(strict: Backend) -> None:
    def refuse() -> list[Any]:
        raise AssertionError("the side that is not taken was called")

    x = strict.from_numpy(np.ones(2, F))
    assert strict.cond(xp.asarray(True), lambda: [x], refuse)[0] is x
    assert strict.cond(xp.asarray(False), refuse, lambda: [x])[0] is x
