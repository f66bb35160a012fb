"""Data types by name: what kind a dtype is, and in which dtype uniopt computes with it.

Every library prints its dtypes with the standard's name at the end (``torch.float32``, ``mlx.core.float32``,
``dtype('float32')``), so the name is the one key that all of them share.
"""

from __future__ import annotations

from typing import Any

_KINDS = {
    **dict.fromkeys(["float16", "bfloat16", "float32", "float64"], "real"),
    **dict.fromkeys(["complex64", "complex128"], "complex"),
    **dict.fromkeys([f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)], "integer"),
    **dict.fromkeys(["bool", "bool_"], "boolean"),
}

_SIZES = {
    **dict.fromkeys(["bool", "int8", "uint8"], 1),
    **dict.fromkeys(["float16", "bfloat16", "int16", "uint16"], 2),
    **dict.fromkeys(["float32", "int32", "uint32"], 4),
    **dict.fromkeys(["float64", "int64", "uint64", "complex64"], 8),
    "complex128": 16,
}

# Moments and arithmetic need more than 8 or 11 bits: 0.999 is 1 in bfloat16, 1e-8 is 0 in float16.
_COMPUTE = {"float16": "float32", "bfloat16": "float32"}

# Bits of the significand (with the leading one), and the smallest number above 0.
_GRIDS = {"float16": (11, 2.0**-24), "bfloat16": (8, 2.0**-133)}

_REAL = {"complex64": "float32", "complex128": "float64"}

# By library: array-api-strict warns when its dtypes meet NumPy's, and torch.compile cannot hash MLX's.
_names: dict[type, dict[Any, str]] = {}


def dtype_name(dtype: Any) -> str:
    """Return the standard's name of a dtype object, a scalar type or a name, of any library."""
    known = _names.get(type(dtype))
    if known is None:
        known = _names[type(dtype)] = {}
    name = known.get(dtype)
    if name is None:
        name = known[dtype] = getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]
    return name


def dtype_kind(name: str) -> str | None:
    """Return ``"real"``, ``"complex"``, ``"integer"``, ``"boolean"``, or None for what is no number (object, str)."""
    return _KINDS.get(name)


def compute_dtype(name: str) -> str:
    """Return the dtype in which uniopt computes with values of dtype ``name``: float32 for the 16-bit floats."""
    return _COMPUTE.get(name, name)


def real_dtype(name: str) -> str:
    """Return the dtype of the real part of values of dtype ``name``."""
    return _REAL.get(name, name)


def itemsize(name: str) -> int:
    """Return how many bytes a value of dtype ``name`` takes."""
    return _SIZES[name]


def grid(name: str) -> tuple[int, float]:
    """Return the bits of the significand and the smallest number above 0 of a 16-bit float."""
    return _GRIDS[name]
