"""JAX: float64 exists only while x64 is enabled, and float32 is tested as most people run it, without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def session(dtype: str) -> Iterator[None]:
    """Compute in `dtype`."""
    with jax.enable_x64(dtype in ("float64", "complex128")):
        yield
