"""From NumPy, and back: every data type, bit for bit, in memory of its own."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend

from tests.conftest import EVERYWHERE, float64, require
from uniopt.errors import UnsupportedDtypeError

HAS = {
    "numpy": {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"},
    "torch": {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"},
    "jax": {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"},
    "mlx": {"float16", "bfloat16", "float32", "float64", "complex64"},
    "dask": {"float32", "float64", "complex64", "complex128"},
    "array_api_strict": {"float32", "float64", "complex64", "complex128"},
}
"""What each library computes in, on its usual device; JAX with x64."""

ALL = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
    "complex64": np.complex64,
    "complex128": np.complex128,
}
OTHERS = {"bool": np.bool_, "int32": np.int32, "int8": np.int8}


def values(dtype: Any) -> Any:
    """Return numbers of both signs with digits down to the last, in the dtype."""
    x = np.asarray([[1.0 / 3.0, -2.0], [0.0, 3e4]])
    return (x + 1j * x[::-1] if np.issubdtype(dtype, np.complexfloating) else x).astype(dtype)


def bits(x: Any) -> tuple[str, tuple[int, ...], bytes]:
    return x.dtype.name, x.shape, x.tobytes()


@pytest.mark.parametrize("library", EVERYWHERE)
def test_the_dtypes_that_a_library_computes_in(library: str) -> None:
    backend = require(library)
    with float64(library):
        found = backend.dtypes()
        assert set(found) == HAS[library]
        for name, dtype in found.items():
            assert backend.dtype(name) == dtype
            third = backend.from_numpy(np.ones(1), name) / 3
            assert dtype_name(third.dtype) == name
            assert bits(backend.to_numpy(third)) == bits(host(np.ones(1, ALL[name]) / np.asarray(3, ALL[name])))


def host(x: Any) -> Any:
    """Return what `to_numpy` makes of these numbers."""
    return x.astype(np.float32) if x.dtype == ml_dtypes.bfloat16 else x


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("library", EVERYWHERE)
def test_every_dtype_there_and_back(library: str, name: str) -> None:
    backend, x = require(library), values(ALL[name])
    with float64(library):
        if name not in HAS[library]:
            with pytest.raises(UnsupportedDtypeError, match=f"{library} has no dtype '{name}'.* Ask for one of those"):
                backend.from_numpy(x)
            with pytest.raises(UnsupportedDtypeError, match=", ".join(sorted(HAS[library]))):
                backend.dtype(name)
            return
        for made in (backend.from_numpy(x), backend.from_numpy(x, name), backend.from_numpy(x, dtype=name)):
            assert dtype_name(made.dtype) == name
            assert bits(backend.to_numpy(made)) == bits(host(x))
        for shape in ((), (0, 3)):
            there = backend.from_numpy(np.zeros(shape, ALL[name]))
            assert bits(backend.to_numpy(there)) == bits(host(np.zeros(shape, ALL[name])))


@pytest.mark.parametrize("name", OTHERS)
def test_other_dtypes_there_and_back(backend: Backend, name: str) -> None:
    x = np.asarray([1, 0], OTHERS[name])
    assert bits(backend.to_numpy(backend.from_numpy(x))) == bits(x)
    assert dtype_name(backend.from_numpy(x, "float32").dtype) == "float32"


@pytest.mark.parametrize("library", EVERYWHERE)
def test_numbers_of_another_dtype_are_cast(library: str) -> None:
    backend, x = require(library), np.asarray([1.0 / 3.0, -2.0])
    with float64(library):
        for name in HAS[library]:
            for source in (x, x.astype(np.float32), x.astype(ml_dtypes.bfloat16)):
                found = backend.from_numpy(source, name)
                assert dtype_name(found.dtype) == name
                assert bits(backend.to_numpy(found)) == bits(host(source.astype(ALL[name])))


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_no_memory_is_shared(backend: Backend, name: str) -> None:
    if name not in HAS[backend.name]:
        return
    x = values(ALL[name])
    made, kept = backend.from_numpy(x), host(x).copy()
    x[...] = 9
    np.testing.assert_array_equal(backend.to_numpy(made), kept)
    backend.to_numpy(made)[...] = 9
    np.testing.assert_array_equal(backend.to_numpy(made), kept)
    copy = backend.copy(made)
    assert copy is not made
    assert dtype_name(copy.dtype) == name
    np.testing.assert_array_equal(backend.to_numpy(copy), kept)
    if backend.name in ("numpy", "torch", "array_api_strict"):  # the others' cannot be written to, or are copied then
        made[0, 0] = 9
        np.testing.assert_array_equal(backend.to_numpy(copy), kept)


def test_read_only_numbers_can_be_converted(backend: Backend) -> None:
    x = np.ones(2, np.float32)
    x.flags.writeable = False
    found = backend.to_numpy(backend.from_numpy(x))
    assert found.flags.writeable
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("name", ["float32", "int32", None])
def test_host_values(backend: Backend, name: str | None) -> None:
    dtype = None if name is None else getattr(backend.xp, name)
    like = backend.from_numpy(np.zeros((2, 2), np.float32))
    for value in (2, [[1, 2], [3, 4]], np.asarray([1, 2])):
        for found in (backend.asarray(value, dtype), backend.asarray(value, dtype=dtype, like=like)):
            assert isinstance(found, type(like))
            np.testing.assert_array_equal(backend.to_numpy(found), value)
            if name is not None:
                assert dtype_name(found.dtype) == name
            assert backend.colocated(found, like)
    assert backend.to_numpy(backend.asarray(2.0)).shape == ()
