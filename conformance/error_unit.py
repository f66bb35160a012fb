"""The error unit: one ulp of the largest value, or of the largest distance moved, that a leaf has had so far.

Elementwise relative error means nothing near zero, where two correct results may differ in every digit. An error that
arose while a leaf was large does not shrink with it, so the unit never falls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from uniopt.conformance.problems import Values

Trajectory: TypeAlias = Sequence[Sequence[Values | None]]
"""The leaves before the first step, and after each one; ``None`` where the tree has it."""

_MANTISSA_BITS = {"float64": 52, "float32": 23, "complex64": 23, "bfloat16": 7, "float16": 10}
_LEAST_EXPONENT = {"float64": -1022, "float32": -126, "complex64": -126, "bfloat16": -126, "float16": -14}


@dataclass(frozen=True)
class Place:
    """Where in a trajectory two results differ.

    Attributes
    ----------
    step
        Counted from 1.
    leaf
        The leaf's path.
    index
        The element's index in the leaf; of a complex one, with 0 for the real part or 1 for the imaginary part last.
    expected, found
        Its two values.
    ulp
        Their distance in the error unit.
    """

    step: int
    leaf: str
    index: tuple[int, ...]
    expected: float
    found: float
    ulp: float


def ulp(scale: float, dtype: str) -> float:
    """Return the distance from `scale` to the next larger number of a dtype."""
    exponent = math.frexp(scale)[1] - 1 if scale > 0 else _LEAST_EXPONENT[dtype]
    return math.ldexp(1.0, max(exponent, _LEAST_EXPONENT[dtype]) - _MANTISSA_BITS[dtype])


def differences(found: Trajectory, expected: Trajectory, paths: Sequence[str], dtype: str) -> list[Place]:
    """Return, for each step, the place where `found` differs most from `expected`, in their dtype's unit."""
    if len(found) != len(expected):
        raise ValueError(f"One trajectory has {len(found) - 1} steps, the other {len(expected) - 1}.")
    scales = [_largest(start, None) for start in expected[0]]
    worst = []
    for step in range(1, len(expected)):
        places = []
        for k, (e, f) in enumerate(zip(expected[step], found[step], strict=True)):
            if e is None or f is None or e.size == 0:
                continue
            scales[k] = max(scales[k], _largest(e, expected[0][k]))
            places.append(_worst(step, paths[k], _parts(e), _parts(f), ulp(scales[k], dtype)))
        worst.append(max(places, key=lambda place: place.ulp))
    return worst


def _parts(x: Values) -> Values:
    """Return float64 values, of complex numbers both parts along another axis."""
    return np.asarray(np.stack([x.real, x.imag], axis=-1) if np.iscomplexobj(x) else x, np.float64)


def _largest(x: Values | None, start: Values | None) -> float:
    if x is None:
        return 0.0
    values = [np.abs(x), np.abs(x - start)] if start is not None else [np.abs(x)]
    return max(float(np.max(v, initial=0.0, where=np.isfinite(v))) for v in values)


def _worst(step: int, leaf: str, e: Values, f: Values, unit: float) -> Place:
    same = (e == f) | (np.isnan(e) & np.isnan(f))  # infinities of one sign are equal
    distance = np.where(same, 0.0, np.abs(np.where(same, 0.0, f) - np.where(same, 0.0, e)))
    error = np.where(np.isnan(distance), np.inf, distance) / unit
    index: Any = np.unravel_index(int(np.argmax(error)), error.shape)
    return Place(step, leaf, tuple(int(i) for i in index), float(e[index]), float(f[index]), float(error[index]))
