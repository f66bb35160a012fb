"""The optimizers, compositions with them, and dialects, with the hyperparameters that both sides are given."""

from __future__ import annotations

from functools import partial
from typing import Any

import uniopt
from uniopt import dialects
from uniopt.cli.bench.compositions import COMPOSITIONS
from uniopt.conformance.cases import exported
from uniopt.transformation import GradientTransformation

_RATE = 2.0**-7
_SMALL_RATE = 2.0**-12
_ADAMW = {"learning_rate": _RATE, "weight_decay": 0.01}

# Where the others have the formula only with these. Steps without an epsilon cost the same as with one. RAdam's stands
# elsewhere in torch, so it is too small to be seen; with none at all torch makes NaN of a gradient of 0. Steps relative
# to the parameters, thousands of them in one direction, lead beyond all numbers with the others' rate.
_HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "adadelta": {"learning_rate": 1.0},
    "adafactor": {"learning_rate": _SMALL_RATE, "min_dim_size_to_factor": 1},
    "adagrad": {"learning_rate": _RATE, "eps": 0.0},
    "adamw": _ADAMW,
    **dict.fromkeys(COMPOSITIONS, _ADAMW),
    "fromage": {"learning_rate": _SMALL_RATE},
    "lamb": {"learning_rate": _SMALL_RATE},
    "polyak_sgd": {},
    "radam": {"learning_rate": _RATE, "eps": 1e-30},
    "rmsprop": {"learning_rate": _RATE, "eps_in_sqrt": False},
    "sgd": {"learning_rate": _RATE, "momentum": 0.9},
}

# Noise of deviation 0 is drawn and multiplied like any other, and two generators can be compared.
_WITHOUT_NOISE: dict[str, dict[str, Any]] = {"noisy_sgd": {"eta": 0.0}}

OF_TORCH: dict[str, dict[str, Any]] = {
    "torch.Adam": {"lr": _RATE, "weight_decay": 0.01},
    "torch.AdamW": {"lr": _RATE},
    "torch.RMSprop": {"lr": _RATE, "momentum": 0.9},
}
"""Optimizers in torch's dialect, and what they are called with here and there."""

_EXTRA: dict[str, dict[str, float]] = {"polyak_sgd": {"value": 1.0}}

FACTORED_OR_NORMED = {
    "adafactor",
    "clipped_adamw",
    "finite_adamw",
    "fromage",
    "lamb",
    "lars",
    "muon",
    "novograd",
    "polyak_sgd",
    "sm3",
}
"""Optimizers whose steps depend on sums or maxima over a leaf, or over all of them."""

WITHOUT_SECOND_MOMENTS = {
    "asgd",
    "lion",
    "noisy_sgd",
    "optimistic_gradient_descent",
    "rprop",
    "schedule_free_sgd",
    "sgd",
    "sign_sgd",
    "signum",
}
"""Elementwise optimizers that keep no average of squares."""


def names() -> list[str]:
    """Return the names of all optimizers that uniopt exports, and of the compositions."""
    return sorted([*exported(), *COMPOSITIONS])


def hyperparameters(name: str, against: str = "") -> dict[str, Any]:
    """Return what an optimizer is called with in a comparison."""
    if name in OF_TORCH:
        return OF_TORCH[name]
    return _HYPERPARAMETERS.get(name, {"learning_rate": _RATE}) | (_WITHOUT_NOISE.get(name, {}) if against else {})


def transformation(name: str, against: str = "") -> GradientTransformation:
    """Return uniopt's optimizer as it is compared: in the other side's dialect where that has another formula."""
    dialect = dialects.optax if against == "optax" else None
    if name in OF_TORCH:
        make = getattr(dialects.torch, name.removeprefix("torch."))
    elif name in COMPOSITIONS:
        make = partial(COMPOSITIONS[name], uniopt)
    else:
        make = getattr(dialect, name, None) or exported()[name]
    made: GradientTransformation = make(**hyperparameters(name, against))
    return made


def extra(name: str) -> dict[str, float]:
    """Return the extra arguments that a step takes."""
    return _EXTRA.get(name, {})
