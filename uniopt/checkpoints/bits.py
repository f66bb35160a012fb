"""The values of one array as they stand in a file, and back: little-endian, bfloat16 as the upper half of float32."""

from __future__ import annotations

from io import BufferedReader
from typing import Any

import numpy as np

from uniopt.checkpoints.container import Tensor

_PARTS = {"complex128": "float64"}
"""Dtypes that safetensors lacks: stored as pairs (real, imaginary) along a last axis."""


def stored_as(dtype: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Return the dtype and the shape in which an array is stored."""
    return (_PARTS[dtype], (*shape, 2)) if dtype in _PARTS else (dtype, shape)


def to_bytes(values: np.ndarray[Any, Any], dtype: str) -> memoryview:
    """Return what is written for values that `Backend.to_numpy` returned, of an array of that dtype."""
    if dtype == "bfloat16":
        values = np.asarray(np.asarray(values, dtype=np.float32).view(np.uint32) >> 16, dtype=np.uint16)
    values = np.asarray(values, dtype=values.dtype.newbyteorder("<"), order="C")
    return values.reshape(-1).view(np.uint8).data


def from_file(file: BufferedReader, tensor: Tensor, dtype: str) -> np.ndarray[Any, Any]:
    """Return the values of a tensor of that dtype, in NumPy's dtype of the name; of bfloat16 in float32."""
    raw = np.empty(tensor.end - tensor.start, dtype=np.uint8)
    file.seek(tensor.start)
    file.readinto(raw.data)
    if dtype == "bfloat16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    host = np.dtype(dtype)
    values = raw.view(host.newbyteorder("<")).astype(host, copy=False)
    return values.reshape(tensor.shape[:-1] if dtype in _PARTS else tensor.shape)
