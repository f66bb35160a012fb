"""Cases: an optimizer, its hyperparameters and a problem. Every exported optimizer has at least one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uniopt.conformance import reference
from uniopt.conformance.problems import PROBLEMS, Problem

import uniopt
from uniopt import optimizers


@dataclass(frozen=True)
class Written:
    """A hyperparameter that uniopt takes in one form and plain Python in another: a schedule, or a mask."""

    for_uniopt: Any
    plain: Any


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


# Large rates and epsilons, so that each term is seen in the result: an epsilon of 1e-8 could stand anywhere.
RATE: dict[str, Any] = {"learning_rate": 0.125}
FALLING: dict[str, Any] = {
    "learning_rate": Written(uniopt.linear_schedule(0.5, 0.125, 5), lambda n: 0.5 - 0.375 * min(n, 5) / 5)
}
MASK = Written(
    {"empty": True, "kernel": False, "matrix": True, "scalar": False, "vector": (True, False)},
    (True, False, False, True, False, True, False),  # empty, kernel, None, matrix, scalar, vector
)
_ADAM: dict[str, dict[str, Any]] = {
    "default": RATE,
    "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125},
    "eps_root": {**RATE, "b2": 0.9, "eps": 0.0, "eps_root": 0.25},
    "schedule": FALLING,
}
_DECAY: dict[str, dict[str, Any]] = {
    **_ADAM,
    "decay": {**RATE, "weight_decay": 0.25},
    "masked": {**RATE, "weight_decay": 0.5, "mask": MASK},
}

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "adam": {**_ADAM, "nesterov": {**RATE, "nesterov": True}},
    "adamw": {**_DECAY, "nesterov": {**RATE, "nesterov": True, "weight_decay": 0.125}},
    "amsgrad": {
        **_ADAM,
        "raw": {**RATE, "bias_correction_mu": False, "bias_correction_nu": False, "eps": 0.125},
    },
    "nadam": _ADAM,
    "nadamw": _DECAY,
    "noisy_sgd": {
        "default": RATE,
        "loud": {**RATE, "eta": 2.0, "gamma": 0.25, "key": 2**40 + 7},
        "schedule": FALLING,
    },
    "rmsprop": {
        "default": RATE,
        "outside": {**RATE, "decay": 0.75, "eps": 0.125, "eps_in_sqrt": False, "momentum": 0.5},
        "scaled": {**RATE, "eps": 0.25, "initial_scale": 0.5},
        "centered": {**RATE, "eps": 0.125, "eps_in_sqrt": False, "centered": True},
        # The corrected variance of one gradient is nothing but rounding, so epsilon is as large as a square.
        "corrected": {**RATE, "eps": 1.0, "centered": True, "bias_correction": True},
        "nesterov": {**FALLING, "momentum": 0.5, "nesterov": True, "bias_correction": True},
    },
    "sgd": {
        "default": RATE,
        "momentum": {**RATE, "momentum": 0.75},
        "nesterov": {**RATE, "momentum": 0.5, "nesterov": True},
        "schedule": {**FALLING, "momentum": 0.9},
    },
}
"""The hyperparameters that each optimizer is tested with. A new optimizer gets its line here."""


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
            "Add a line to SETTINGS in conformance/cases.py."
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
