"""The suite as trials, each of which runs in milliseconds, and which of them a fault can reach."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest
from uniopt.conformance.cases import Case, all_cases
from uniopt.conformance.cells import Cell, Selection
from uniopt.conformance.oracles import Oracles
from uniopt.conformance.runner import run_cell
from uniopt.conformance.schedules import SCHEDULES
from uniopt.conformance.settings import Written
from uniopt.conformance.suite import planned
from uniopt.conformance.verdicts import Verdict

import uniopt
from tests.mutation import (
    accumulation,
    arguments,
    averages,
    checks,
    constructors,
    dialects,
    mlx_and_keras,
    parts,
    rates_and_optax,
    scalars,
    sixteen_bits,
    transformation_checks,
    transformations,
    wrappers,
)
from tests.mutation.faults import Fault, faults
from tests.mutation.planting import functions_of, name_of, planted
from uniopt import backends, tree

PACKAGE = Path(uniopt.__file__).parent
MODULES = [
    *sorted(str(path.relative_to(PACKAGE)) for path in (PACKAGE / "optimizers").glob("[!_]*.py")),
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


RAISES = "raises"
"""With what the failures begin that are errors, not wrong numbers."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Something that fails if a number is wrong.

    Attributes
    ----------
    name
        Its name.
    failure
        Returns what is wrong, or the empty string.
    case
        The case that it walks on NumPy, if it does.
    """

    name: str
    failure: Callable[[], str]
    case: Case | None = None


class Corpus:
    """All trials; each has passed before a fault is planted."""

    def __init__(self, *, quick: bool = False) -> None:
        self.trials = list(_trials(quick))
        self.reach: dict[tuple[str, str], list[Trial]] = {}
        functions = dict(_functions())
        for trial in self.trials:
            called, failure = _watched(trial, functions)
            if failure:
                raise AssertionError(f"Without any fault, {trial.name} fails: {failure}")
            for place in called | {(module, "") for module, _ in called}:
                self.reach.setdefault(place, []).append(trial)

    @cached_property
    def paths(self) -> dict[Trial, list[Any]]:
        """The path of each trial that walks a case, without a fault."""
        return {trial: _path(trial.case) for trial in self.trials if trial.case is not None}

    def of(self, fault: Fault) -> list[Trial]:
        """Return the trials that run the function which has the fault, those first that have caught others there."""
        return self.reach.get((fault.module, fault.function), [])

    def caught(self, fault: Fault) -> str:
        """Return which trial finds a fault, and how, or the empty string."""
        trials = self.of(fault)
        try:
            with planted(fault):
                for trial in trials:
                    if failure := trial.failure():
                        trials.remove(trial)
                        trials.insert(0, trial)
                        return f"{trial.name}: {failure}"
        except Exception as error:
            return f"import: {RAISES} {error}"
        return ""

    def differs(self, fault: Fault) -> str:
        """Return which trial is another because of a fault, if only by an ulp, or the empty string."""
        with planted(fault):
            for trial in self.of(fault):
                if trial.case is None:
                    failure = trial.failure()
                else:
                    failure = "" if _same(_path(trial.case), self.paths[trial]) else "another path"
                if failure:
                    return f"{trial.name}: {failure}"
        return ""


def faults_of(module: str) -> list[Fault]:
    """Return every fault of a module."""
    return faults(module, (PACKAGE / module).read_text(encoding="utf-8"))


def _trials(quick: bool) -> Iterator[Trial]:
    """Yield the trials, first those that catch most in the least time."""
    suite, own = all_cases(), list(transformations.cases())
    yield from _of_cells("numpy", [case for case in suite if case.problem.name == "brief"])
    if quick:
        return
    more = (
        accumulation, arguments, averages, checks, constructors, dialects, mlx_and_keras, parts, rates_and_optax,
        scalars, sixteen_bits, transformation_checks, wrappers,
    )  # fmt: skip
    for module in more:
        yield from (Trial(name, partial(_failure_of_check, check)) for name, check in module.checks())
    yield from _of_cells("numpy", own)
    brief = [case for case in (*suite, *own) if case.problem.name == "brief"]
    yield from _of_cells("array_api_strict", [_with_arrays(case) for case in brief if case.optimizer not in SCHEDULES])
    yield from _of_cells("array_api_strict", brief)
    yield from _of_cells("torch", brief)
    yield from _of_cells("numpy", [case for case in suite if case.problem.name != "brief"])


def _of_cells(library: str, cases: Sequence[Case]) -> Iterator[Trial]:
    """Yield the cells of some cases that the reference has something to say about."""
    selection = Selection(backends=[library], dtypes=["float64"], modes=["eager"], against=["reference"])
    cells, oracles = planned(selection, cases)
    for cell in cells:
        if cell.personality:  # the same numbers again
            continue
        yield Trial(cell.name, partial(_failure_of_cell, cell, oracles), cell.case if library == "numpy" else None)


def _failure_of_cell(cell: Cell, oracles: Oracles) -> str:
    result = run_cell(cell, oracles)
    if result.verdict is not Verdict.FAIL:
        return ""
    if result.reason:
        error = result.reason.strip().rpartition("\n")[2]
        return f"{RAISES} {error}"
    wrong = [f"{comparison.worst.ulp:.3g} ulp" for comparison in result.comparisons.values()]
    return ", ".join([*wrong, *filter(None, result.properties.values())])


def _failure_of_check(check: Callable[[], None]) -> str:
    try:
        check()
    except (AssertionError, pytest.fail.Exception) as error:  # the second is no Exception
        return str(error).strip().partition("\n")[0] or "does not hold"
    except Exception as error:
        return f"{RAISES} {type(error).__name__}: {error}"
    return ""


def _with_arrays(case: Case) -> Case:
    """Return the case with every rate and epsilon as a 0-d array, which no shortcut for numbers is taken for."""
    strict = backends.get("array_api_strict")

    def given(x: Any) -> Any:
        return Written(strict.asarray(x), x) if isinstance(x, float) else x

    hyper = {name: given(x) for name, x in case.hyper.items()}
    return replace(case, setting=f"{case.setting} as arrays", hyper=hyper)


def _path(case: Case) -> list[Any]:
    """Return the leaves of state and parameters before the first step and after each one."""
    tx, params = case.transformation(), case.problem.params
    state = tx.init(params)
    path = tree.leaves((state, params))
    with np.errstate(all="ignore"):
        for gradient, value in zip(case.problem.gradients, case.problem.values, strict=True):
            updates, state = tx.update(gradient, state, params, value=value)
            params = uniopt.apply_updates(params, updates)
            path += tree.leaves((state, params))
    return path


def _same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _functions() -> Iterator[tuple[CodeType, tuple[str, str]]]:
    for module in MODULES:
        for name, f in functions_of(import_module(name_of(module))):
            yield f.__code__, (module, name)


def _watched(trial: Trial, functions: dict[CodeType, tuple[str, str]]) -> tuple[set[tuple[str, str]], str]:
    """Return which functions a trial calls, and what is wrong."""
    called: set[tuple[str, str]] = set()

    def watch(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and (place := functions.get(frame.f_code)):
            called.add(place)

    sys.setprofile(watch)
    try:
        failure = trial.failure()
    finally:
        sys.setprofile(None)
    return called, failure
