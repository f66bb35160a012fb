"""Which trials a fault can reach, and which of them find it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from uniopt.conformance.cases import Case

import uniopt
from tests.mutation.faults import Fault, faults
from tests.mutation.planting import functions_of, name_of, planted
from tests.mutation.trials import RAISES, Trial
from uniopt import tree


class Corpus:
    """Trials of some modules; each has passed before a fault is planted."""

    def __init__(self, trials: Iterable[Trial], modules: Iterable[str]) -> None:
        self.trials = list(trials)
        self.reach: dict[tuple[str, str], list[Trial]] = {}
        functions = dict(_functions(modules))
        self.functions = set(functions.values())
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
        known = fault.function if (fault.module, fault.function) in self.functions else ""  # or a decorator keeps it
        return self.reach.get((fault.module, known), [])

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
    return faults(module, source_of(module))


def source_of(module: str) -> str:
    """Return the source of a module as it is."""
    found = find_spec(name_of(module))
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_text(encoding="utf-8")


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


def _functions(modules: Iterable[str]) -> Iterator[tuple[CodeType, tuple[str, str]]]:
    for module in modules:
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
