"""NumPy, on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.numpy_dtypes import NumpyDtypes


class NumpyBackend(NumpyDtypes):
    """NumPy arrays, on the host."""

    name = "numpy"
    array_types = ("numpy.ndarray", "numpy.generic")
    namespace = "array_api_compat.numpy"

    def device(self, x: Any) -> str:
        return "cpu"

    def colocated(self, x: Any, y: Any) -> bool:
        return True

    def place(self, x: Any, like: Any) -> Any:
        return x

    def has_float64(self, like: Any) -> bool:
        return True

    def astype(self, x: Any, dtype: Any) -> Any:
        # NumPy's functions and operators turn 0-d arrays into scalars; asarray turns them back.
        return np.asarray(x, dtype=dtype)

    def restore(self, x: Any, like: Any, dtype: Any) -> Any:
        array = np.asarray(x, dtype=dtype)
        return array[()] if isinstance(like, np.generic) else array

    def to_numpy(self, x: Any) -> Any:
        return np.array(x, dtype=np.float32 if dtype_name(x.dtype) == "bfloat16" else x.dtype)

    def from_numpy(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        return np.array(x, dtype=self.dtype(dtype) if dtype else None)

    def compile_step(
        self, step: Callable[..., list[Any]], *, donate: bool, parameters: Mapping[int, int]
    ) -> Callable[..., list[Any]]:
        from uniopt.backends.fusion.memory import NumpyMemory
        from uniopt.backends.fusion.step import FusedStep

        return FusedStep(step, NumpyMemory(), donate=donate, parameters=parameters)
