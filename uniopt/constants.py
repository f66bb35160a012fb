"""New numbers for the state of a whole tree."""

from __future__ import annotations

from typing import Any

from uniopt.norms import meeting
from uniopt.step import Step
from uniopt.typing import Array


def constant(step: Step, value: Any, dtype: str | None = None) -> Array:
    """Return a number or a list of numbers as an array where all leaves meet, by default in the dtype of scalars there.

    For a part of a tree that has no leaves it is float32, where the others are.
    """
    where, backend = meeting(step.places), step.backend
    if where is None:
        return backend.asarray(value, dtype=backend.dtype(dtype or "float32"), like=step.first())
    own = where.scalar_dtype if dtype is None else backend.dtype(dtype)
    return backend.asarray(value, dtype=own, like=where.like)
