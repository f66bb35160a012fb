"""Whether gradients are numbers that can be used."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from uniopt.step import Step
from uniopt.typing import Array


def all_finite(step: Step, leaves: Sequence[Any], like: Array) -> Array:
    """Return whether no element of the leaves is infinite or NaN, a 0-d array where `like` lives."""
    xp = step.xp
    found = [step.backend.place(xp.all(xp.isfinite(x)), like) for x in leaves if x is not None]
    return reduce(operator.and_, found) if found else like - like == 0


def not_finite(step: Step, leaves: Sequence[Any], like: Array) -> Array:
    """Return how many elements of the leaves are infinite or NaN, a 0-d int32 array where `like` lives."""
    backend, xp = step.backend, step.xp
    counts = [xp.sum(backend.astype(~xp.isfinite(x), xp.int32)) for x in leaves if x is not None]
    nearby = [backend.place(backend.astype(n, xp.int32), like) for n in counts]
    return backend.astype(reduce(operator.add, nearby) if nearby else like - like, xp.int32)
