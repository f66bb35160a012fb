"""The types that signatures speak of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

Array: TypeAlias = Any
"""An array of a known library. The libraries share no base class, so the type says it for the reader only."""

Tree: TypeAlias = Any
"""Any nesting of dict, list, tuple, NamedTuple, dataclass and JAX-registered containers; the leaves are arrays."""

Scalar: TypeAlias = Any
"""A Python number or a 0-d array."""

Integer: TypeAlias = Annotated[Any, "Integer"]
"""A Python int or a 0-d array of integers, such as a number of steps. `inject_hyperparams` knows it by this name."""

Schedule: TypeAlias = Callable[[Any], Any]
"""Maps the number of steps taken so far (a Python int or a 0-d int32 array) to a number."""

ScalarOrSchedule: TypeAlias = Any
"""A number, a 0-d array, or a schedule."""

Mask: TypeAlias = Any
"""A tree of bools like the parameters, a prefix of one, or a function that makes one from the parameters."""

__all__ = ["Array", "Integer", "Mask", "Scalar", "ScalarOrSchedule", "Schedule", "Tree"]
