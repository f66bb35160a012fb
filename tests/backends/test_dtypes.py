"""Data types by name: kinds, sizes, what is computed in, and the name of every library's own objects."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from uniopt.backends import dtypes

from tests.conftest import float64, require

# name: kind, bytes, what is computed in, the dtype of the real part.
TABLE: dict[str, tuple[str, int, str, str]] = {
    "bool": ("boolean", 1, "bool", "bool"),
    **{
        f"{sign}int{bits}": ("integer", bits // 8, f"{sign}int{bits}", f"{sign}int{bits}")
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    "float16": ("real", 2, "float32", "float16"),
    "bfloat16": ("real", 2, "float32", "bfloat16"),
    "float32": ("real", 4, "float32", "float32"),
    "float64": ("real", 8, "float64", "float64"),
    "complex64": ("complex", 8, "complex64", "float32"),
    "complex128": ("complex", 16, "complex128", "float64"),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_is_known_of_a_dtype(name: str) -> None:
    found = dtypes.dtype_kind(name), dtypes.itemsize(name), dtypes.compute_dtype(name), dtypes.real_dtype(name)
    assert found == TABLE[name]


def test_what_is_no_number_has_no_kind() -> None:
    assert [dtypes.dtype_kind(name) for name in ("object", "str", "int128")] == [None] * 3
    assert dtypes.dtype_kind("bool_") == "boolean"


@pytest.mark.parametrize(
    ("name", "kind"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)], ids=["float16", "bfloat16"]
)
def test_grids_of_16_bits(name: str, kind: Any) -> None:
    info = ml_dtypes.finfo(kind)
    assert dtypes.grid(name) == (1 - int(np.log2(float(info.eps))), float(info.smallest_subnormal))


def test_names_are_those_of_the_standard_everywhere(backend: Any) -> None:
    with float64(backend.name):
        for name, dtype in backend.dtypes().items():
            for _ in range(2):  # the second time it is remembered
                assert dtypes.dtype_name(dtype) == name
        assert dtypes.dtype_name(backend.xp.int32) == "int32"
        assert dtypes.dtype_name(backend.asarray(True).dtype) in ("bool", "bool_")


def test_names_of_scalar_types_and_of_names() -> None:
    assert [dtypes.dtype_name(x) for x in (np.float32, np.dtype("float16"), ml_dtypes.bfloat16, "float64", float)] == [
        "float32", "float16", "bfloat16", "float64", "float"
    ]  # fmt: skip


def test_names_are_looked_up_once() -> None:
    class Dtype:
        asked = 0

        def __str__(self) -> str:
            Dtype.asked += 1
            return "my.library.float32"

    dtype = Dtype()
    assert [dtypes.dtype_name(dtype) for _ in range(3)] == ["float32"] * 3
    assert Dtype.asked == 1


def test_dtypes_of_one_library_are_not_compared_with_those_of_another() -> None:
    strict = require("array_api_strict")  # it warns when its dtypes meet NumPy's, which is an error here
    assert dtypes.dtype_name(np.dtype("float32")) == dtypes.dtype_name(strict.xp.float32) == "float32"
