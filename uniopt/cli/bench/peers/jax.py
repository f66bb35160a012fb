"""JAX on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

xp = jnp


def put(x: np.ndarray) -> Any:
    """Return the array in JAX."""
    return jnp.asarray(x)


def parameter(x: np.ndarray) -> Any:
    """Return a copy, which can be donated."""
    return jnp.array(x, copy=True)


def get(x: Any) -> np.ndarray:
    """Return the values."""
    return np.asarray(x)


def finish(arrays: Mapping[str, Any]) -> None:
    """Wait for the arrays."""
    jax.block_until_ready(arrays)  # type: ignore[no-untyped-call]  # jax has no types there


def limit(threads: int) -> str:
    """Do nothing: XLA reads its number of threads from the environment when it starts."""
    return f"{jax.__version__}, {threads} by NPROC"
