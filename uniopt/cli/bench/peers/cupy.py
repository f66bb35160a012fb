"""CuPy."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from uniopt.typing import Tree


class Arrays:
    """CuPy's arrays, on the first CUDA device."""

    xp = cupy

    def __init__(self, device: str) -> None:
        assert device == "cuda"

    def put(self, x: np.ndarray) -> Any:
        """Return a copy on the device."""
        return cupy.asarray(x)

    parameter = put

    def get(self, x: Any) -> np.ndarray:
        """Return a copy on the host."""
        values: np.ndarray = cupy.asnumpy(x)
        return values

    def finish(self, results: Tree) -> None:
        """Wait for the device."""
        cupy.cuda.get_current_stream().synchronize()

    def limit(self, threads: int) -> str:
        """Do nothing: it computes on the device."""
        return f"{cupy.__version__}, on {cupy.cuda.runtime.getDeviceProperties(0)['name'].decode()}"
