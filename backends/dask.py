"""Dask arrays: lazy, chunked, promised in float32 and float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uniopt.backends.dtypes import dtype_name
from uniopt.backends.standard import StandardBackend


class DaskBackend(StandardBackend):
    """Dask arrays. Every step adds to the graph: call ``dask.persist`` on params and state now and then."""

    name = "dask"
    array_types = ("dask.array.core.Array",)
    namespace = "array_api_compat.dask.array"

    def device(self, x: Any) -> str:
        # A Dask array has no device attribute; its chunks live where the workers put them.
        return "cpu"

    def devices(self) -> list[Any]:
        return ["cpu"]

    def dtypes(self, device: Any = None) -> dict[str, Any]:
        return super().dtypes(None)

    def colocated(self, x: Any, y: Any) -> bool:
        return True

    def place(self, x: Any, like: Any) -> Any:
        return x

    def has_float64(self, like: Any) -> bool:
        return True

    def astype(self, x: Any, dtype: Any) -> Any:
        return x if x.dtype == dtype else x.astype(dtype)

    def copy(self, x: Any) -> Any:
        return x.copy()

    def asarray(self, value: Any, dtype: Any = None, like: Any = None) -> Any:
        import dask.array as da
        import numpy as np

        array = np.asarray(value, dtype=dtype)
        same = like is not None and array.shape == like.shape
        return da.from_array(array, chunks=like.chunks if same else -1)  # type: ignore[no-untyped-call]  # Dask's

    def from_numpy(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        return self.asarray(x, dtype=self.dtype(dtype or dtype_name(x.dtype)))  # Dask copies it

    def to_numpy(self, x: Any) -> Any:
        import numpy as np

        return np.array(x.compute())

    def is_traced(self, x: Any) -> bool:
        # A Dask array stands for a computation, but one that can be asked for its values at any time.
        return False

    def cond(self, predicate: Any, on_true: Callable[[], list[Any]], on_false: Callable[[], list[Any]]) -> list[Any]:
        return self.select(predicate, on_true, on_false)  # to ask for the value would compute all that leads to it
