"""How far two results may differ, in one table: every number in the error unit, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Bound:
    """What a comparison allows, in the error unit.

    Attributes
    ----------
    tight
        The largest difference that passes.
    wide
        The largest that is still only inexact.
    reason
        Where the numbers come from.
    """

    tight: float
    wide: float
    reason: str


@dataclass(frozen=True)
class Row:
    """A bound, and the comparisons it is for: patterns of oracle, backend, device, data type and mode."""

    oracle: str
    backend: str
    device: str
    dtype: str
    mode: str
    bound: Bound


BITWISE = Bound(0, 0, "The same IEEE 754 operations in the same order, each of them correctly rounded.")

# The first row that matches holds.
TABLE = (
    Row(
        "reference",
        "*",
        "*",
        "float64",
        "*",
        Bound(
            256,
            4504,
            "The loops compute 1 - 0.999**t, where cancellation makes half an ulp 500 and the square root halves that; "
            "4504 ulp is 1e-12 of the leaf's largest value.",
        ),
    ),
    Row(
        "reference",
        "*",
        "*",
        "float32",
        "*",
        Bound(
            16,
            64,
            "Half an ulp for each of 8 additions to the parameters and of some 20 roundings in a direction; four times "
            "that where a difference of moments cancels.",
        ),
    ),
    Row(
        "numpy",
        "array_api_strict",
        "no_*64",
        "*",
        "eager",
        Bound(4, 64, "Bias corrections and schedules are computed in float32 there, as below."),
    ),
    Row("numpy", "array_api_strict", "*", "*", "eager", BITWISE),
    Row("numpy", "dask", "*", "*", "eager", BITWISE),
    Row(
        "numpy",
        "*",
        "*",
        "*",
        "*",
        Bound(
            4,
            64,
            "Square roots, powers and expm1 differ by an ulp between libraries, and compilers fuse multiplication and "
            "addition; torch's own two float32 AdamW kernels are 64 apart.",
        ),
    ),
    Row("*", "*", "*", "float64", "*", Bound(256, 4504, "As for the reference: torch and optax compute 1 - b**t too.")),
)


def bound(oracle: str, backend: str, device: str, dtype: str, mode: str) -> Bound | None:
    """Return what a comparison allows, or None where the table has no row for it."""
    asked = (oracle, backend, device, dtype, mode)
    for row in TABLE:
        patterns = (row.oracle, row.backend, row.device, row.dtype, row.mode)
        if all(fnmatchcase(value, pattern) for value, pattern in zip(asked, patterns, strict=True)):
            return row.bound
    return None
