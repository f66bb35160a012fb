"""Cases: a registered name, hyperparameters and a problem. Whatever uniopt exports and can be tested has one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from uniopt.conformance import dialects, reference
from uniopt.conformance.dialects import DIALECTS
from uniopt.conformance.objectives import OBJECTIVES
from uniopt.conformance.problems import COMPLEX, PROBLEMS, SPOILED, Problem
from uniopt.conformance.programs import Pickled
from uniopt.conformance.schedules import SCHEDULES
from uniopt.conformance.settings import REAL_ONLY, SETTINGS, Written
from uniopt.conformance.subjects import Subject, parameters
from uniopt.conformance.transformations import TRANSFORMATIONS
from uniopt.conformance.wrappers import WRAPPERS

import uniopt
from uniopt import optimizers
from uniopt.typing import Tree

SUBJECTS: dict[str, Subject] = {**TRANSFORMATIONS, **WRAPPERS, **SCHEDULES, **DIALECTS}
"""What is tested besides uniopt's own optimizers."""

_IN_BRIEF = ("bfloat16", "float16", "complex64")
_MAKERS = {name: partial(subject.make, uniopt) for name, subject in SUBJECTS.items()}


@dataclass(frozen=True, eq=False)
class Case:
    """An optimizer with its hyperparameters on a problem.

    Attributes
    ----------
    optimizer, setting
        The name of the optimizer, such as ``adamw`` or ``torch.AdamW``, or of the transformation or schedule that it
        has as a part, and that of its hyperparameters.
    hyper
        The hyperparameters.
    problem
        The parameters and gradients.
    make
        Makes the transformation from the hyperparameters.
    reference
        The naive loops of the same optimizer; None for an optimizer without.
    dtypes
        The data types that it is tested in, unless others are asked for.
    in_brief
        The data types in which only the default setting is tested besides, on a brief problem.
    observe
        ``observe(state, params)`` returns what is compared, a tree like the parameters.
    widens
        Whether the updates of 16-bit parameters are of float32.
    needs
        The data types in which it computes, whatever that of the parameters is.
    program
        ``program(transformation)`` takes its eager steps.
    libraries
        The only libraries on which it can be, in eager mode; None for all of them, in every mode.
    options
        What the command line needs to know it, besides its name.
    """

    optimizer: str
    setting: str
    problem: Problem
    hyper: Mapping[str, Any]
    make: Callable[..., Any]
    reference: Callable[..., Any] | None
    dtypes: Sequence[str] = ("float64", "float32")
    in_brief: Sequence[str] = ()
    observe: Callable[[Any, Tree], Tree] = parameters
    widens: bool = False
    needs: Sequence[str] = ()
    program: Callable[[Any], Any] = Pickled
    libraries: Sequence[str] | None = None
    options: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Return ``optimizer/setting/problem``."""
        return f"{self.optimizer}/{self.setting}/{self.problem.name}"

    def is_registered(self) -> bool:
        """Return whether the command line can find it."""
        return bool(self.options) or registered().get(self.optimizer) is self.make

    def runs(self, library: str, mode: str) -> bool:
        """Return whether there is such a program of it."""
        return self.libraries is None or (library in self.libraries and mode == "eager")

    def is_optimizer(self) -> bool:
        """Return whether it is of one of uniopt's own optimizers, not of a transformation, a schedule or a dialect."""
        return self.optimizer not in SUBJECTS

    @property
    def dialect(self) -> str:
        """Return the framework whose constructor it is of, or the empty string."""
        return self.optimizer.partition(".")[0] if self.optimizer in DIALECTS else ""

    def asks_for_values(self) -> bool:
        """Return whether it is told the objective's value in each step."""
        return self.reference is not None and "values" in inspect.signature(self.reference).parameters

    def transformation(self) -> Any:
        """Return the transformation under test."""
        return self.make(**{name: x.for_uniopt if isinstance(x, Written) else x for name, x in self.hyper.items()})

    def plain_hyper(self) -> dict[str, Any]:
        """Return the hyperparameters as the reference takes them."""
        return {name: x.plain if isinstance(x, Written) else x for name, x in self.hyper.items()}


def exported() -> dict[str, Callable[..., Any]]:
    """Return the optimizers that `uniopt.optimizers` exports, by name."""
    return {name: f for name, f in vars(optimizers).items() if inspect.isfunction(f) and not name.startswith("_")}


def registered() -> dict[str, Callable[..., Any]]:
    """Return what makes an optimizer of hyperparameters, for each optimizer, transformation, schedule and dialect."""
    return exported() | _MAKERS


def all_cases() -> list[Case]:
    """Return every case: each setting on normal gradients, in full and in brief, and the default one on every problem.

    Raises
    ------
    LookupError
        If an optimizer or a dialect's constructor is exported without settings, or has settings without being
        exported.
    """
    makers = exported()
    for package, made, known, place in (
        ("uniopt.optimizers", makers, SETTINGS, "conformance/settings.py"),
        ("uniopt.dialects", dialects.constructors(), DIALECTS, "the dialect's file in conformance/dialects"),
    ):
        if missing := sorted(made.keys() - known.keys()):
            raise LookupError(
                f"{package} exports {', '.join(missing)} without a conformance case. Add a line to SETTINGS in {place}."
            )
        if unknown := sorted(known.keys() - made.keys()):
            raise LookupError(f"SETTINGS has {', '.join(unknown)}, which {package} does not export.")
    of_optimizers = [case for name in SETTINGS for case in _cases_of_optimizer(name, makers[name])]
    return of_optimizers + [case for name, subject in SUBJECTS.items() for case in _cases_of(name, subject)]


def _cases_of_optimizer(name: str, make: Callable[..., Any]) -> Iterator[Case]:
    loops = reference.OPTIMIZERS.get(name)
    problems = (*PROBLEMS.values(), *OBJECTIVES.values(), *(() if name in REAL_ONLY else (COMPLEX,)))
    spoiled = ("default", SETTINGS[name]["default"], SPOILED)
    for setting, hyper, problem in (*_chosen(SETTINGS[name], problems), spoiled):
        yield Case(name, setting, problem, hyper, make, loops, in_brief=_IN_BRIEF)


def _cases_of(name: str, subject: Subject) -> Iterator[Case]:
    rest = (subject.reference, subject.dtypes, _IN_BRIEF, subject.observe, subject.widens, subject.needs)
    for setting, hyper, problem in _chosen(subject.settings, subject.problems):
        yield Case(name, setting, problem, hyper, _MAKERS[name], *rest)


def _chosen(
    settings: Mapping[str, Mapping[str, Any]], problems: Iterable[Problem]
) -> Iterator[tuple[str, Mapping[str, Any], Problem]]:
    for setting, hyper in settings.items():
        for problem in problems:
            of_any_setting = problem.name == "normal" or (problem.brief and not problem.is_complex)
            if of_any_setting or setting == "default":
                yield setting, hyper, problem
