"""The unit in which differences between two walks of the same parameters are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

History = Sequence[Sequence[Any]]
"""For each step, the start first, the leaves as NumPy arrays."""


class Difference(NamedTuple):
    """The largest difference between two walks, and where it stands."""

    value: float
    step: int
    leaf: int


def error_unit(leaf: Any, reach: float) -> float:
    """Return one ulp, in the leaf's dtype, of the largest |value| or distance moved in that leaf so far.

    Elementwise relative error means nothing near zero, where a parameter may pass by on its way; and a leaf keeps the
    rounding of the time when it was large.
    """
    return float(np.spacing(np.asarray(reach, dtype=leaf.real.dtype)))


def reaches(walk: History) -> list[list[float]]:
    """Return, for each step and leaf, the largest |value| or distance moved so far; 0 for an empty leaf."""
    rows: list[list[float]] = []
    for leaves in walk:
        here = [
            max(np.max(np.abs(x), initial=0.0), np.max(np.abs(x - start), initial=0.0))
            for x, start in zip(leaves, walk[0], strict=True)
        ]
        rows.append([max(pair) for pair in zip(here, rows[-1], strict=True)] if rows else here)
    return rows


def relative(found: History, reference: History) -> Difference:
    """Return the largest difference between two walks, as a share of the leaf's reach."""
    return _largest(found, reference, lambda leaf, reach: reach)


def ulps(found: History, reference: History) -> Difference:
    """Return the largest difference between two walks, in error units."""
    return _largest(found, reference, error_unit)


def _largest(found: History, reference: History, unit: Any) -> Difference:
    worst = Difference(0.0, 0, 0)
    rows = reaches(reference)
    for step, (mine, theirs) in enumerate(zip(found, reference, strict=True)):
        for i, (x, y) in enumerate(zip(mine, theirs, strict=True)):
            assert x.shape == y.shape, f"step {step}, leaf {i}: shape {x.shape}, expected {y.shape}"
            assert x.dtype == y.dtype, f"step {step}, leaf {i}: dtype {x.dtype}, expected {y.dtype}"
            distance = float(np.max(np.abs(_wide(x) - _wide(y)), initial=0.0))
            value = distance / unit(y, rows[step][i]) if distance else 0.0
            if not value <= worst.value:  # a NaN counts
                worst = Difference(value, step, i)
    return worst


def _wide(x: Any) -> Any:
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
