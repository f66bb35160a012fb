"""MLX: lazy arrays in unified memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.errors import UnsupportedDtypeError
from uniopt.backends.standard import StandardBackend


class MlxNamespace:
    """`mlx.core`, with the standard's functions that are missing there or less exact than their dtype."""

    bool = mx.bool_  # MLX has the dtype, but only under this name
    pow = staticmethod(mx.power)

    def __getattr__(self, name: str) -> Any:
        return getattr(mx, name)

    def sign(self, x: Any) -> Any:
        # MLX's is 0 for NaN.
        return mx.sign(x) if x.dtype == mx.complex64 else mx.where(mx.isnan(x), x, mx.sign(x))

    # MLX computes cos, sin and exp of float64 to float32's accuracy; tan and expm1 are exact.

    def cos(self, x: Any) -> Any:
        if x.dtype != mx.float64:
            return mx.cos(x)
        t = mx.square(mx.tan(0.5 * x))
        return (1.0 - t) / (1.0 + t)

    def sin(self, x: Any) -> Any:
        if x.dtype != mx.float64:
            return mx.sin(x)
        t = mx.tan(0.5 * x)
        return 2.0 * t / (1.0 + mx.square(t))

    def exp(self, x: Any) -> Any:
        return mx.exp(x) if x.dtype != mx.float64 else mx.expm1(x) + 1.0

    # On the CPU, MLX adds the elements one after another in float32.

    def sum(self, x: Any, *, axis: Any = None, keepdims: Any = False) -> Any:
        return _accumulated(mx.sum, x, axis, keepdims)

    def mean(self, x: Any, *, axis: Any = None, keepdims: Any = False) -> Any:
        return _accumulated(mx.mean, x, axis, keepdims)


def _accumulated(reduce: Callable[..., Any], x: Any, axis: Any, keepdims: bool) -> Any:
    """Return a sum or mean of float32 that is accumulated in float64, where the device has it."""
    if x.dtype != mx.float32 or mx.default_device().type != mx.DeviceType.cpu:
        return reduce(x, axis=axis, keepdims=keepdims)
    return reduce(x.astype(mx.float64), axis=axis, keepdims=keepdims).astype(mx.float32)


class MlxBackend(StandardBackend):
    """MLX arrays. float64 exists on the CPU only."""

    name = "mlx"
    array_types = ("mlx.core.array",)
    xp = MlxNamespace()

    def devices(self) -> list[Any]:
        found = [mx.Device(mx.DeviceType.cpu)]
        return [*found, mx.Device(mx.DeviceType.gpu)] if mx.metal.is_available() else found

    def dtypes(self, device: Any = None) -> dict[str, Any]:
        names = ["float16", "bfloat16", "float32", "complex64"]
        if (device or mx.default_device()).type == mx.DeviceType.cpu:
            names.append("float64")
        return {name: getattr(mx, name) for name in names}

    def dtype(self, name: str) -> Any:
        if name == "float64" and not self.has_float64(None):
            raise UnsupportedDtypeError(
                "mlx computes in float64 on the CPU only: call mx.set_default_device(mx.cpu) first, or use float32."
            )
        return super().dtype(name)

    def device(self, x: Any) -> None:
        # An MLX array has no device: memory is unified, and each operation chooses where it runs.
        return None

    def colocated(self, x: Any, y: Any) -> bool:
        return True

    def place(self, x: Any, like: Any) -> Any:
        return x

    def has_float64(self, like: Any) -> bool:
        return bool(mx.default_device().type == mx.DeviceType.cpu)

    def astype(self, x: Any, dtype: Any) -> Any:
        return x if x.dtype == dtype else x.astype(dtype)

    def asarray(self, value: Any, dtype: Any = None, like: Any = None) -> Any:
        # MLX's creation functions take no device.
        return mx.array(value, dtype=dtype)

    def from_numpy(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        import numpy as np

        half = dtype_name(x.dtype) == "bfloat16"
        return mx.array(np.asarray(x, dtype=np.float32) if half else x, dtype=self.dtype(dtype or dtype_name(x.dtype)))

    def to_numpy(self, x: Any) -> Any:
        import numpy as np

        # NumPy cannot read MLX's bfloat16.
        return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)

    def is_traced(self, x: Any) -> bool:
        # Inside mx.compile arrays are ordinary objects of the same type; MLX does not tell.
        return False

    def cond(self, predicate: Any, on_true: Callable[[], list[Any]], on_false: Callable[[], list[Any]]) -> list[Any]:
        try:
            taken = bool(predicate)
        except ValueError:  # inside mx.compile and mx.vmap
            return self.select(predicate, on_true, on_false)
        return on_true() if taken else on_false()

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return mx.compile(f)

    def compile_step(
        self, step: Callable[..., list[Any]], *, donate: bool, parameters: Mapping[int, int]
    ) -> Callable[..., list[Any]]:
        return mx.compile(step)

    value_and_grad = staticmethod(mx.value_and_grad)
