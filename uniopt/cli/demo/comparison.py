"""How far two runs are from each other, in the error unit of the conformance suite and absolute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from uniopt.conformance import error_unit

Leaves = Sequence[np.ndarray[Any, Any]]


class Difference(NamedTuple):
    """The largest difference between two sets of leaves."""

    ulp: float
    absolute: float


def differences(found: Sequence[Leaves], expected: Sequence[Leaves], start: Leaves, dtype: str) -> list[Difference]:
    """Return the largest difference over the leaves at each point of two runs that began at `start`."""
    names = [f"leaf {i}" for i in range(len(start))]
    places = error_unit.differences([start, *found], [start, *expected], names, dtype)
    return [
        Difference(place.ulp, max(float(np.max(np.abs(_exact(x) - _exact(y)))) for x, y in zip(f, e, strict=True)))
        for place, f, e in zip(places, found, expected, strict=True)
    ]


def gradient_difference(found: Leaves, expected: Leaves, dtype: str) -> Difference:
    """Return the largest difference over the leaves of two gradients, in ulp of each leaf's largest value."""
    return differences([found], [expected], [np.zeros_like(leaf) for leaf in expected], dtype)[0]


def _exact(x: Any) -> Any:
    return x.astype(np.float64)
