"""New numbers for the state of a whole tree."""

from __future__ import annotations

from typing import Any

from uniopt.norms import meeting
from uniopt.step import Step
from uniopt.typing import Array


def constant(step: Step, value: Any) -> Array:
    """Return a number or a list of numbers as an array where all leaves meet, in the dtype of scalars there."""
    where = meeting(step.places)
    dtype = step.backend.dtype("float32") if where is None else where.scalar_dtype
    return step.backend.asarray(value, dtype=dtype, like=None if where is None else where.like)
