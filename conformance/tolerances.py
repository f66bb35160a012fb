"""How far two results may differ, in one table: every number in the error unit, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from uniopt.conformance.objectives import OBJECTIVES


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
    """A bound, and the comparisons it is for: patterns of oracle, optimizer, and so on."""

    oracle: str
    optimizer: str
    backend: str
    device: str
    dtype: str
    mode: str
    bound: Bound
    problem: str = "*"
    setting: str = "*"


BITWISE = Bound(0, 0, "The same IEEE 754 operations in the same order, each of them correctly rounded.")
NEWTON_SCHULZ = Bound(
    64,
    485,
    "Libraries add up a product of matrices in their own order, and five Newton-Schulz steps multiply what rounding "
    "leaves in the small singular directions by up to 3.4445**5 = 485; 21 was the most seen.",
)
OWN_ORDER = Bound(4, 64, "Dask copies its arrays into C order, so it adds up a transposed leaf in another order.")

RETURNING = Bound(
    64,
    1024,
    "What rounding leaves in the parameters returns through the objective's gradient, and what divides by the "
    "gradient's size multiplies it by the largest slope over the smallest; 27 was the most seen.",
)
SOME_STEPS = Bound(
    16,
    64,
    "Half an ulp for each of 8 additions to the parameters and of some 20 roundings in a direction; four times "
    "that where a difference of moments cancels.",
)
ROUNDED = Bound(
    0.51,
    1,
    "What is rounded is known to 16 bits more in float32 copies, and to 8 or 11 more by compensation: half an ulp.",
)

FLOAT32 = 2**29
"""One ulp of float32, in those of float64."""

IN_FLOAT32 = Bound(
    4 * FLOAT32,
    16 * FLOAT32,
    "Here the framework computes in float32 whatever the parameters are: rates and coefficients, or sums of squares; "
    "1.8 ulp of float32 was the most seen.",
)
_POWERS_IN_FLOAT32 = (
    "MLX computes 1 - 0.999**t in float32, where half an ulp becomes 500; 139 ulp of float32 was the most seen."
)

POWERS = Bound(256, 4504, "As for the reference: the frameworks compute 1 - b**t too.")

FRAMEWORKS = ("keras", "mlx", "optax", "torch")
"""Those with a dialect."""

PARTLY_IN_FLOAT32 = (
    ("keras.Adafactor", "*"),
    ("keras.Adam", "amsgrad"),  # it clips by a norm
    ("keras.Muon", "*"),
    ("keras.SGD", "all"),
    ("keras.SGD", "momentum"),
    ("keras.SGD", "nesterov"),
    ("mlx.Adafactor", "*"),
    ("mlx.Adam*", "corrected"),
    ("mlx.Muon", "*"),
)
"""The optimizers and settings in which a framework computes something in float32, whatever the parameters are."""

ADD_UP = (
    "*.Adafactor",
    "*.Lamb",
    "adafactor",
    "adaptive_grad_clip",
    "centralize",
    "chain",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "fromage",
    "lamb",
    "lars",
    "mechanize",
    "named_chain",
    "normalize",
    "normalize_by_update_norm",
    "novograd",
    "optax.polyak_sgd",
    "polyak_sgd",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_trust_ratio",
)
"""What adds up the elements of a leaf, besides Muon."""

# The first row that matches holds.
TABLE = (
    Row(
        "reference",
        "*",
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
    Row("reference", "muon", "*", "*", "float32", "*", NEWTON_SCHULZ),
    *(Row("reference", "*", "*", "*", "float32", "*", RETURNING, problem) for problem in OBJECTIVES),
    Row("reference", "*", "*", "*", "float32", "*", SOME_STEPS),
    Row("optax", "*", "*", "*", "complex64", "*", SOME_STEPS),
    *(Row("reference", name, "*", "*", "*float16", "*", ROUNDED) for name in ("kahan_summation", "master_weights")),
    Row("reference", "*", "*", "*", "*float16", "*", SOME_STEPS),
    Row(
        "numpy",
        "*",
        "array_api_strict",
        "no_*64",
        "*",
        "eager",
        Bound(4, 64, "Bias corrections and schedules are computed in float32 there, as below."),
    ),
    Row("numpy", "*", "array_api_strict", "*", "*", "eager", BITWISE),
    *(Row("numpy", name, "*", "*", "*", "*", NEWTON_SCHULZ) for name in ("muon", "keras.Muon", "mlx.Muon")),
    *(Row("numpy", name, "dask", "*", "*", "eager", OWN_ORDER) for name in ADD_UP),
    Row("numpy", "*", "dask", "*", "*", "eager", BITWISE),
    *(Row("numpy", "*", "*", "*", "*", "*", RETURNING, problem) for problem in OBJECTIVES),
    Row(
        "numpy",
        "*",
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
    *(Row(oracle, "*", "*", "*", "float64", "*", POWERS) for oracle in ("optax", "torch")),
    Row("mlx", "mlx.Adam", "*", "*", "float32", "*", Bound(256, 1024, _POWERS_IN_FLOAT32), setting="corrected_by_*"),
    Row(
        "mlx",
        "mlx.Adam",
        "*",
        "*",
        "float64",
        "*",
        Bound(256 * FLOAT32, 1024 * FLOAT32, _POWERS_IN_FLOAT32),
        setting="corrected_by_*",
    ),
    *(
        Row(optimizer.partition(".")[0], optimizer, "*", "*", "float64", "*", IN_FLOAT32, setting=setting)
        for optimizer, setting in PARTLY_IN_FLOAT32
    ),
    *(Row(oracle, f"{oracle}.*", "*", "*", "float64", "*", POWERS) for oracle in ("keras", "mlx")),
    *(Row(o, f"{o}.*", "*", "*", dtype, "*", SOME_STEPS) for o in FRAMEWORKS for dtype in ("float32", "*float16")),
)


def bound(
    oracle: str, optimizer: str, setting: str, problem: str, backend: str, device: str, dtype: str, mode: str
) -> Bound | None:
    """Return what a comparison allows, or None where the table has no row for it."""
    found = row_of(oracle, optimizer, setting, problem, backend, device, dtype, mode)
    return None if found is None else found.bound


def row_of(
    oracle: str, optimizer: str, setting: str, problem: str, backend: str, device: str, dtype: str, mode: str
) -> Row | None:
    """Return the row that holds for a comparison."""
    asked = (oracle, optimizer, setting, problem, backend, device, dtype, mode)
    for row in TABLE:
        patterns = (
            row.oracle,
            row.optimizer,
            row.setting,
            row.problem,
            row.backend,
            row.device,
            row.dtype,
            row.mode,
        )
        if all(fnmatchcase(value, pattern) for value, pattern in zip(asked, patterns, strict=True)):
            return row
    return None
