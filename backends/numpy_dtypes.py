"""Libraries whose dtypes are NumPy's, with the 16-bit types of ml_dtypes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from uniopt.backends.errors import UnsupportedDtypeError
from uniopt.backends.standard import StandardBackend


class NumpyDtypes(StandardBackend):
    """A library whose arrays have NumPy's dtypes."""

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
                    f"{self.name} has no bfloat16 of its own; install ml_dtypes to use it, or use float32."
                ) from None
            return np.dtype(bfloat16)
        return np.dtype(super().dtype(name))
