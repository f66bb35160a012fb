"""CuPy: NumPy's interface on CUDA devices."""

from __future__ import annotations

from typing import Any

import cupy
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.standard import StandardBackend


class CupyBackend(StandardBackend):
    """CuPy arrays, on one or several CUDA devices."""

    name = "cupy"
    array_types = ("cupy.ndarray",)
    namespace = "array_api_compat.cupy"

    def why_unavailable(self) -> str | None:
        # `import cupy` succeeds without a driver; the first array does not.
        return None if cupy.cuda.is_available() else "no CUDA device: cupy.cuda.is_available() is False"

    def version(self) -> str:
        return str(cupy.__version__)

    def devices(self) -> list[Any]:
        return [cupy.cuda.Device(i) for i in range(cupy.cuda.runtime.getDeviceCount())]

    def dtypes(self, device: Any = None) -> dict[str, Any]:
        return {"float16": cupy.dtype("float16"), **super().dtypes(device)}

    def place(self, x: Any, like: Any) -> Any:
        if x.device == like.device:
            return x
        with like.device:
            return cupy.asarray(x)

    def has_float64(self, like: Any) -> bool:
        return True

    def asarray(self, value: Any, dtype: Any = None, like: Any = None) -> Any:
        with cupy.cuda.Device() if like is None else like.device:
            return cupy.asarray(value, dtype=dtype)

    def from_numpy(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        with device or cupy.cuda.Device():
            return cupy.array(x, dtype=self.dtype(dtype) if dtype else None)

    def to_numpy(self, x: Any) -> Any:
        host = x.astype("float32") if dtype_name(x.dtype) == "bfloat16" else x
        return cupy.asnumpy(host)
