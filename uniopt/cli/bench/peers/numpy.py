"""NumPy."""

from __future__ import annotations

import numpy as np

from uniopt.typing import Tree


class Arrays:
    """NumPy's arrays, which are on the CPU."""

    xp = np

    def __init__(self, device: str) -> None:
        assert device == "cpu"

    def put(self, x: np.ndarray) -> np.ndarray:
        """Return the array itself."""
        return x

    def parameter(self, x: np.ndarray) -> np.ndarray:
        """Return a copy."""
        return x.copy()

    def get(self, x: np.ndarray) -> np.ndarray:
        """Return the array itself."""
        return x

    def finish(self, results: Tree) -> None:
        """Return at once: NumPy computes when it is called."""

    def limit(self, threads: int) -> str:
        """Do nothing: NumPy's elementwise functions use one thread."""
        return f"{np.__version__}, one thread"
