"""JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from uniopt.typing import Tree


class Arrays:
    """JAX's arrays on the first device of a platform."""

    xp = jnp

    def __init__(self, device: str) -> None:
        self._device = jax.devices(device)[0]

    def put(self, x: np.ndarray) -> Any:
        """Return the array in JAX."""
        with jax.default_device(self._device):
            return jnp.asarray(x)

    def parameter(self, x: np.ndarray) -> Any:
        """Return a copy, which can be donated."""
        with jax.default_device(self._device):
            return jnp.array(x, copy=True)

    def get(self, x: Any) -> np.ndarray:
        """Return the values."""
        return np.asarray(x)

    def finish(self, results: Tree) -> None:
        """Wait for the arrays."""
        jax.block_until_ready(results)  # type: ignore[no-untyped-call]  # jax has no types there

    def limit(self, threads: int) -> str:
        """Do nothing: XLA reads its number of threads from the environment when it starts."""
        return f"{jax.__version__}, {threads} by NPROC, on {self._device.device_kind}"
