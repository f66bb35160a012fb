"""The step count as schedules compute with it: a Python float, or a 0-d floating-point array."""

from __future__ import annotations

import math
from typing import Any

from uniopt.backends import registry
from uniopt.typing import Scalar


class PythonMath:
    """The functions of the array API that schedules use, for Python numbers."""

    cos = staticmethod(math.cos)

    @staticmethod
    def minimum(x: float, y: float) -> float:
        return min(x, y)

    @staticmethod
    def maximum(x: float, y: float) -> float:
        return max(x, y)

    @staticmethod
    def where(condition: bool, x: float, y: float) -> float:
        return x if condition else y


def as_time(count: Scalar) -> tuple[Any, Scalar]:
    """Return a namespace and the count as a floating-point number of it: float64 where the array's device has it."""
    if isinstance(count, int | float):
        return PythonMath, float(count)
    backend = registry.backend_of(count)
    wide = "float64" if backend.has_float64(count) else "float32"
    return backend.xp, backend.astype(count, backend.dtype(wide))
