"""MLX: functions as exact as their dtype, and what depends on the device that it computes on."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from tests.conftest import require
from uniopt.errors import UnsupportedDtypeError

F = np.float32
GPU = mx.Device(mx.DeviceType.gpu)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLX says that it computes on a GPU."""
    monkeypatch.setattr(mx, "default_device", lambda: GPU)


@pytest.mark.parametrize("name", ["cos", "sin", "exp"])
def test_functions_of_float64_are_exact(name: str) -> None:
    backend = require("mlx")
    x = np.linspace(-3.0, 3.0, 101)
    found = backend.to_numpy(getattr(backend.xp, name)(backend.from_numpy(x)))
    expected = getattr(np, name)(x)
    assert found.dtype == np.float64
    assert np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1.0)) <= 4 * np.finfo(float).eps


@pytest.mark.parametrize("name", ["cos", "sin", "exp"])
def test_functions_of_other_dtypes_are_mlxs_own(name: str) -> None:
    backend = require("mlx")
    for dtype in ("float32", "complex64"):
        x = backend.from_numpy(np.linspace(-3.0, 3.0, 101), dtype)
        found, expected = (backend.to_numpy(getattr(xp, name)(x)) for xp in (backend.xp, mx))
        assert found.tobytes() == expected.tobytes()


def test_signs() -> None:
    backend = require("mlx")
    found = backend.to_numpy(backend.xp.sign(backend.from_numpy(np.asarray([-2.0, 0.0, 0.5, np.nan], F))))
    np.testing.assert_array_equal(found, [-1.0, 0.0, 1.0, np.nan])
    found = backend.to_numpy(backend.xp.sign(backend.from_numpy(np.asarray([3 + 4j, 0j], np.complex64))))
    np.testing.assert_allclose(found, [0.6 + 0.8j, 0j], rtol=1e-6)


def test_the_names_of_the_standard() -> None:
    xp = require("mlx").xp
    assert xp.bool == mx.bool_
    assert xp.sqrt is mx.sqrt
    np.testing.assert_array_equal(np.asarray(xp.pow(mx.array(2.0), mx.array(3.0))), 8.0)
    with pytest.raises(AttributeError, match="no_such_function"):
        _ = xp.no_such_function


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_sums_along_axes(name: str, dtype: str) -> None:
    backend = require("mlx")
    x = np.arange(24.0).reshape(2, 3, 4)
    made = backend.from_numpy(x, dtype)
    for options in ({}, {"axis": 1}, {"axis": (0, 2)}, {"axis": 1, "keepdims": True}, {"keepdims": True}):
        found = getattr(backend.xp, name)(made, **options)
        assert found.dtype == backend.dtype(dtype)
        np.testing.assert_array_equal(backend.to_numpy(found), getattr(np, name)(x, **options).astype(dtype))


def long_sum(name: str) -> tuple[Any, Any]:
    """Return a sum or mean that loses digits in float32, and what it should be."""
    backend = require("mlx")
    x = np.random.default_rng(5).random(300_000).astype(F)
    return getattr(backend.xp, name)(backend.from_numpy(x)).item(), getattr(np, name)(x, dtype=np.float64)


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_long_sums_lose_no_digits(name: str) -> None:
    found, expected = long_sum(name)
    assert abs(found - expected) <= np.spacing(F(expected))


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_on_a_gpu_sums_are_mlxs_own(on_gpu: None, name: str) -> None:
    found, expected = long_sum(name)  # this is the CPU all the same, where it shows
    assert abs(found - expected) > np.spacing(F(expected))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for available in (False, True):
        monkeypatch.setattr(mx.metal, "is_available", lambda available=available: available)
        assert require("mlx").devices() == [mx.Device(mx.DeviceType.cpu), *([GPU] if available else [])]


def test_float64_is_on_the_cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = require("mlx")
    cpu = mx.Device(mx.DeviceType.cpu)
    everywhere = {"float16", "bfloat16", "float32", "complex64"}
    assert set(backend.dtypes()) == set(backend.dtypes(cpu)) == everywhere | {"float64"}
    assert set(backend.dtypes(GPU)) == everywhere
    monkeypatch.setattr(mx, "default_device", lambda: GPU)
    assert set(backend.dtypes()) == everywhere
    assert set(backend.dtypes(cpu)) == everywhere | {"float64"}
    assert not backend.has_float64(mx.array(1.0))
    assert backend.dtype("float32") == mx.float32
    with pytest.raises(UnsupportedDtypeError, match="mlx computes in float64 on the CPU only"):
        backend.dtype("float64")


def test_a_condition_inside_a_compiled_function_has_no_value() -> None:
    backend = require("mlx")
    f = backend.compile(lambda x: backend.cond(mx.all(x > 0), lambda: [2.0 * x], lambda: [-x])[0])
    for values, expected in (([1.0, 2.0], [2.0, 4.0]), ([1.0, -2.0], [-1.0, 2.0])):
        np.testing.assert_array_equal(np.asarray(f(mx.array(values))), expected)
