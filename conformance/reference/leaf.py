"""An array of any rank as plain Python floats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Leaf:
    """A shape, and as many values in row-major order; shape () holds one value."""

    shape: tuple[int, ...]
    values: list[float]

    def __post_init__(self) -> None:
        if len(self.values) != math.prod(self.shape):
            raise ValueError(
                f"A leaf of shape {self.shape} has {len(self.values)} values, not {math.prod(self.shape)}."
            )

    @classmethod
    def of(cls, array: Any) -> Leaf:
        """Return the values of a NumPy array as float64."""
        return cls(tuple(array.shape), [float(value) for value in array.ravel().tolist()])
