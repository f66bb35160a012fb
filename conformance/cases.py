"""Cases: an optimizer, its hyperparameters and a problem. Every exported optimizer has at least one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uniopt.conformance import reference
from uniopt.conformance.problems import PROBLEMS, Problem
from uniopt.conformance.settings import SETTINGS, Written

from uniopt import optimizers


@dataclass(frozen=True, eq=False)
class Case:
    """An optimizer with its hyperparameters on a problem.

    Attributes
    ----------
    optimizer, setting
        The optimizer's name and that of its hyperparameters.
    hyper
        The hyperparameters.
    problem
        The parameters and gradients.
    make
        Makes the transformation from the hyperparameters.
    reference
        The naive loops of the same optimizer; None for an optimizer without.
    """

    optimizer: str
    setting: str
    problem: Problem
    hyper: Mapping[str, Any]
    make: Callable[..., Any]
    reference: Callable[..., Any] | None

    @property
    def name(self) -> str:
        """Return ``optimizer/setting/problem``."""
        return f"{self.optimizer}/{self.setting}/{self.problem.name}"

    def is_registered(self) -> bool:
        """Return whether the optimizer is one that uniopt exports, which the command line knows by name."""
        return exported().get(self.optimizer) is self.make

    def transformation(self) -> Any:
        """Return the transformation under test."""
        return self.make(**{name: x.for_uniopt if isinstance(x, Written) else x for name, x in self.hyper.items()})

    def plain_hyper(self) -> dict[str, Any]:
        """Return the hyperparameters as the reference takes them."""
        return {name: x.plain if isinstance(x, Written) else x for name, x in self.hyper.items()}


def exported() -> dict[str, Callable[..., Any]]:
    """Return the optimizers that `uniopt.optimizers` exports, by name."""
    return {name: f for name, f in vars(optimizers).items() if inspect.isfunction(f) and not name.startswith("_")}


def all_cases() -> list[Case]:
    """Return every case: each setting on normal gradients, in full and in brief, and the default one on every problem.

    Raises
    ------
    LookupError
        If an optimizer is exported without settings, or has settings without being exported.
    """
    makers = exported()
    if missing := sorted(makers.keys() - SETTINGS.keys()):
        raise LookupError(
            f"uniopt.optimizers exports {', '.join(missing)} without a conformance case. "
            "Add a line to SETTINGS in conformance/settings.py."
        )
    if unknown := sorted(SETTINGS.keys() - makers.keys()):
        raise LookupError(f"SETTINGS has {', '.join(unknown)}, which uniopt.optimizers does not export.")
    return [case for name in SETTINGS for case in _cases_of(name, makers[name])]


def _cases_of(name: str, make: Callable[..., Any]) -> Iterator[Case]:
    settings = SETTINGS[name]
    loops = reference.OPTIMIZERS.get(name)
    for setting, hyper in settings.items():
        for problem in PROBLEMS.values():
            if problem.name in ("normal", "brief") or setting == "default":
                yield Case(name, setting, problem, hyper, make, loops)
