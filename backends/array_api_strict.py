"""array-api-strict: the standard and nothing else, which makes it the judge of every rule."""

from __future__ import annotations

from typing import Any

from uniopt.backends.standard import StandardBackend


class ArrayApiStrictBackend(StandardBackend):
    """Arrays of array-api-strict, with its pretended devices ``device1``, ``device2`` and ``no_float64``."""

    name = "array_api_strict"
    array_types = ("array_api_strict._array_object.Array",)
    namespace = "array_api_strict"
    distributions = ("array-api-strict",)

    def to_numpy(self, x: Any) -> Any:
        import numpy as np

        # Only the host device converts to NumPy.
        host = self.xp.Device("CPU_DEVICE")
        return np.array(x if x.device == host else x.to_device(host))
