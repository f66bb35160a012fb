"""Sign, maximum and minimum of floats, through which a NaN goes as through any sum, and norms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def sign(x: float) -> float:
    """Return -1, 0, 1 or NaN."""
    return math.nan if math.isnan(x) else float((x > 0) - (x < 0))


def maximum(x: float, y: float) -> float:
    """Return the larger, or NaN if either is NaN (`max` returns whichever comes first)."""
    return math.nan if math.isnan(x) or math.isnan(y) else max(x, y)


def minimum(x: float, y: float) -> float:
    """Return the smaller, or NaN if either is NaN."""
    return math.nan if math.isnan(x) or math.isnan(y) else min(x, y)


def squared_norm(xs: Iterable[float]) -> float:
    """Return the sum of the squares."""
    return math.fsum(x * x for x in xs)


def norm(xs: Iterable[float]) -> float:
    """Return the Euclidean norm; of nothing it is 0."""
    return math.sqrt(squared_norm(xs))


def root_mean_square(xs: Sequence[float]) -> float:
    """Return the root of the mean of the squares; of nothing it is 0."""
    return math.sqrt(squared_norm(xs) / len(xs)) if xs else 0.0
