"""The rules, and their trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from uniopt.conformance.cases import Case, all_cases
from uniopt.conformance.cells import Selection
from uniopt.conformance.schedules import SCHEDULES
from uniopt.conformance.settings import Written

import uniopt
from tests.mutation import (
    accumulation,
    arguments,
    averages,
    checks,
    constructors,
    dialects,
    mlx_and_keras,
    optimizer_checks,
    parts,
    rates_and_optax,
    scalars,
    sixteen_bits,
    transformation_checks,
    transformations,
    wrappers,
)
from tests.mutation.corpus import Corpus
from tests.mutation.trials import Trial, of_cells, of_checks
from uniopt import backends

_PACKAGE = Path(uniopt.__file__).parent
MODULES = [
    *sorted(str(path.relative_to(_PACKAGE)) for path in (_PACKAGE / "optimizers").glob("[!_]*.py")),
    *("moments.py", "norms.py", "numerics.py", "clock.py", "conditional.py", "finite.py", "schedules/stateful.py"),
    *(f"transforms/{name}.py" for name in ("clip", "decay", "ema", "noise", "scale", "trace", "trust_ratio")),
    *("transforms/count_by_leaf.py", "transforms/decay_first.py", "transforms/overwrite_params.py"),
    *("dialects/optax.py", "dialects/mlx.py", "dialects/rates.py"),
    *(f"dialects/keras/{name}.py" for name in ("adam", "base", "gradient_descent", "second_moments")),
    *(
        f"dialects/torch/{name}.py"
        for name in ("adam", "around", "gradient_descent", "layer_by_layer", "second_moments")
    ),
    *(f"transforms/{name}.py" for name in ("accumulate", "apply_every", "apply_if_finite", "conditionally", "inject")),
    *(f"transforms/{name}.py" for name in ("loss_scaling", "plateau", "skip")),
    *(f"transforms/{name}.py" for name in ("kahan", "master_weights", "narrow", "stochastic_rounding")),
    *("pairs.py", "transforms/copies.py"),
    *(f"transforms/{name}.py" for name in ("flatten", "freeze", "labels", "lookahead", "mask", "mechanic", "monitor")),
    *(f"transforms/{name}.py" for name in ("partition", "restart", "sam", "schedule_free")),
    *(f"transforms/{name}.py" for name in ("adaptive_clip", "centralize", "constraints", "global_norm", "stateless")),
    *(f"transforms/{name}.py" for name in ("averaged_params", "params_average", "per_example", "privacy")),
    "updates.py",
]
"""Where rules are, and the arithmetic that they share."""

_COUNTS = {
    "accumulation_size", "cooldown", "decay_offset", "every", "every_k_schedule", "growth_interval", "k",
    "max_consecutive_errors", "mini_steps", "patience", "start", "step_offset", "sync_period", "warmup_steps",
}  # fmt: skip
"""The integers that may be arrays."""


def corpus(*, quick: bool = False) -> Corpus:
    """Return the trials of the rules; the quick ones are the default problem on NumPy."""
    return Corpus(_trials(quick), MODULES)


def _trials(quick: bool) -> Iterator[Trial]:
    """Yield the trials, first those that catch most in the least time."""
    suite, own = all_cases(), list(transformations.cases())
    yield from _of_library("numpy", [case for case in suite if case.problem.name == "brief"])
    if quick:
        return
    more = (
        accumulation, arguments, averages, checks, constructors, dialects, mlx_and_keras, optimizer_checks, parts,
        rates_and_optax, scalars, sixteen_bits, transformation_checks, wrappers,
    )  # fmt: skip
    for module in more:
        yield from of_checks(module.checks())
    yield from _of_library("numpy", own)
    brief = [case for case in (*suite, *own) if case.problem.name == "brief"]
    strict = [_with_arrays(case) for case in brief if case.optimizer not in SCHEDULES]
    yield from _of_library("array_api_strict", strict)
    yield from _of_library("array_api_strict", brief)
    yield from _of_library("torch", brief)
    yield from _of_library("numpy", [case for case in suite if case.problem.name != "brief"])


def _of_library(library: str, cases: Sequence[Case]) -> Iterator[Trial]:
    """Yield the cells in float64, without those of a library's personalities, which have the same numbers."""
    where = Selection(backends=[library], devices=["cpu"], dtypes=["float64"], modes=["eager"], against=["reference"])
    yield from of_cells(where, cases)


def _with_arrays(case: Case) -> Case:
    """Return the case with every rate, epsilon and number of steps as a 0-d array, which takes no number's shortcut."""
    strict = backends.get("array_api_strict")

    def given(name: str, x: Any) -> Any:
        counts = type(x) is int and name in _COUNTS and "opaque_mode" not in case.hyper
        return Written(strict.asarray(x), x) if isinstance(x, float) or counts else x

    hyper = {name: given(name, x) for name, x in case.hyper.items()}
    return replace(case, setting=f"{case.setting} as arrays", hyper=hyper)
