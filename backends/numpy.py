"""NumPy, and NumPy with the 16-bit types of ml_dtypes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.errors import UnsupportedDtypeError
from uniopt.backends.standard import StandardBackend


class NumpyBackend(StandardBackend):
    """NumPy arrays, on the host."""

    name = "numpy"
    array_types = ("numpy.ndarray", "numpy.generic")
    namespace = "array_api_compat.numpy"

    def dtypes(self, device: Any = None) -> dict[str, Any]:
        # float16 is NumPy's own but outside the standard, so its namespace info leaves it out; bfloat16 is a package's.
        outside = {"float16": np.dtype("float16")}
        if find_spec("ml_dtypes") is not None:
            outside["bfloat16"] = self.dtype("bfloat16")
        return {**outside, **super().dtypes(device)}

    def dtype(self, name: str) -> Any:
        if name == "bfloat16":
            try:
                from ml_dtypes import bfloat16
            except ImportError:
                raise UnsupportedDtypeError(
                    "NumPy has no bfloat16 of its own; install ml_dtypes to use it, or use float32."
                ) from None
            return np.dtype(bfloat16)
        return np.dtype(super().dtype(name))

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
