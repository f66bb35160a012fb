"""MLX: the default device decides where it computes, and float64 exists on the CPU only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx


@contextmanager
def session(dtype: str) -> Iterator[None]:
    """Compute in `dtype`."""
    default = mx.default_device()
    if dtype == "float64":
        mx.set_default_device(mx.cpu)
    try:
        yield
    finally:
        mx.set_default_device(default)
