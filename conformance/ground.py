"""Where a case is computed: a library, one of its devices, and a data type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from uniopt.backends import Backend
from uniopt.backends.dtypes import dtype_name, real_dtype
from uniopt.conformance.problems import Values

from uniopt import tree
from uniopt.typing import Array, Tree


@dataclass(frozen=True, eq=False)
class Ground:
    """A library, one of its devices, and the data type of the parameters.

    `shares`, of a shape, is where an array lies that is shared by several devices instead; `treat` is what is done to
    each array that an optimizer is given.
    """

    backend: Backend
    device: Any
    dtype: str
    shares: Callable[[tuple[int, ...]], Any] | None = None
    treat: Callable[[Array], Array] = lambda x: x

    def put(self, values: Tree) -> Tree:
        """Return a tree of NumPy arrays on this ground."""
        return tree.map(self._put, values)

    def number(self, value: float) -> Array:
        """Return a real number as a 0-d array on this ground."""
        return self._put(np.asarray(value), real_dtype(self.dtype))

    def _put(self, x: Values, dtype: str = "") -> Array:
        where = self.shares(x.shape) if self.shares else self.device
        return self.treat(self.backend.from_numpy(x, dtype or self.dtype, where))

    def restore(self, values: Tree, dtypes: Tree) -> Tree:
        """Return a tree of NumPy arrays on this ground, each in the dtype that is named."""
        return tree.map(lambda x, dtype: self.backend.from_numpy(x, dtype, self.device), values, dtypes)

    def read(self, arrays: Tree) -> list[Values | None]:
        """Return copies of the leaves in NumPy."""
        return [None if x is None else self.backend.to_numpy(x) for x in tree.flatten(arrays)[0]]

    def outline(self, x: Array) -> tuple[Any, ...]:
        """Return what must stay as it is from step to step: type, data type, shape and device."""
        return type(x), dtype_name(x.dtype), tuple(x.shape), str(self.backend.device(x))


def same_bits(a: list[Values | None], b: list[Values | None]) -> bool:
    """Return whether two lists of leaves agree in dtype, shape and every bit."""
    return len(a) == len(b) and all(
        x is y if x is None or y is None else x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(a, b, strict=True)
    )
