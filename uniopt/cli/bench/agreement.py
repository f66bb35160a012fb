"""Whether two sides have arrived at the same numbers. Only then is it of interest which of them was faster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uniopt.cli.bench.sizes import Leaves
from uniopt.conformance.error_unit import ulp

# Each of the steps rounds the parameters; optax rounds 1 - b**t to 1e-5, which moves them by as much less or more.
_ULP = 4.0
_MOVED = 1e-4
# The sign of a sum near 0 is decided by rounding, and then the whole step differs.
_STRAYS = 1e-6


class ResultsDifferError(Exception):
    """The two sides do not compute the same."""


@dataclass(frozen=True)
class Agreement:
    """How far two sides are apart.

    Attributes
    ----------
    distance
        The largest difference of two elements, in units of the one that is allowed.
    strays
        How many elements are further apart than that.
    """

    distance: float
    strays: int


def compare(found: Leaves, expected: Leaves, start: Leaves, moved: float = _MOVED) -> Agreement:
    """Return how far `found` is from `expected`.

    Parameters
    ----------
    found, expected
        The leaves on both sides.
    start
        Where both started.
    moved
        By which share of the largest distance moved they may differ besides 4 ulp.

    Raises
    ------
    ResultsDifferError
        If they differ in more than rounding, or if the steps have led nowhere from `start`.
    """
    if found.keys() != expected.keys():
        raise ResultsDifferError(f"The leaves are {sorted(found)} here and {sorted(expected)} there.")
    leaves = [_compare(name, found[name], expected[name], start[name], moved) for name in expected]
    return Agreement(max(leaf.distance for leaf in leaves), sum(leaf.strays for leaf in leaves))


def _compare(name: str, found: np.ndarray, expected: np.ndarray, start: np.ndarray, share: float) -> Agreement:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ResultsDifferError(
            f"{name} is {found.dtype} {found.shape} here and {expected.dtype} {expected.shape} there."
        )
    moved, largest = _largest(expected - start), _largest(expected)
    if not (moved > 0 and np.isfinite(moved) and np.isfinite(largest)):
        raise ResultsDifferError(f"{name} has moved by {moved} to at most {largest}; expected a finite step.")
    allowed = _ULP * ulp(largest, "float32") + share * moved
    distance = np.abs(found - expected)
    strays = int(np.count_nonzero(~(distance <= allowed)))
    if strays > _STRAYS * distance.size or not np.isfinite(distance).all():
        at = np.unravel_index(int(np.argmax(np.where(np.isnan(distance), np.inf, distance))), distance.shape)
        raise ResultsDifferError(
            f"{strays} of {distance.size} elements of {name} differ by more than {allowed:.3g}, such as "
            f"{found[at]} here and {expected[at]} there, where the largest has moved by {moved:.3g}."
        )
    return Agreement(float(distance.max()) / allowed, strays)


def _largest(x: np.ndarray) -> float:
    return float(np.max(np.abs(x)))
