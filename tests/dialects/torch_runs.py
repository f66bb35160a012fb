"""torch's own optimizers on nested trees, and the settings in which the dialect is held against them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import uniopt
from tests.dialects import problems
from tests.dialects.problems import Tree
from uniopt import GradientTransformation
from uniopt.dialects import torch as dialect

Hyper = dict[str, Any]

SETTINGS: dict[str, dict[str, Hyper]] = {
    "SGD": {
        "default": {},
        "dampened": {"lr": 0.1, "momentum": 0.75, "dampening": 0.5, "weight_decay": 0.1, "maximize": True},
        "nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        "dampened for nothing": {"lr": 0.1, "dampening": 0.5},
    },
    "Adam": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1, "maximize": True},
        "amsgrad": {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-2, "amsgrad": True},
        "decoupled": {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
    },
    "AdamW": {
        "default": {},
        "decay": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.3, "maximize": True},
        "amsgrad": {"lr": 0.1, "betas": (0.8, 0.9), "amsgrad": True},
    },
    "NAdam": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1, "momentum_decay": 0.25},
        "decoupled": {"lr": 0.1, "momentum_decay": 1.0, "weight_decay": 0.1, "decoupled_weight_decay": True},
        "steady": {"momentum_decay": 0.0, "maximize": True},
    },
    "RAdam": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1},
        "decoupled": {"lr": 0.1, "betas": (0.8, 0.99), "weight_decay": 0.1, "decoupled_weight_decay": True},
        "never rectified": {"betas": (0.8, 0.5), "maximize": True},
    },
    "Adamax": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1, "maximize": True},
    },
    "Adagrad": {
        "default": {},
        "falling": {"lr": 0.1, "lr_decay": 0.25, "weight_decay": 0.1, "eps": 1e-2, "maximize": True},
        "begun": {"lr": 0.1, "initial_accumulator_value": 0.5, "lr_decay": 1.0},
    },
    "Adadelta": {
        "default": {},
        "coupled": {"lr": 0.5, "rho": 0.5, "eps": 1e-2, "weight_decay": 0.1, "maximize": True},
    },
    "RMSprop": {
        "default": {},
        "momentum": {"lr": 0.1, "alpha": 0.75, "eps": 1e-2, "weight_decay": 0.1, "momentum": 0.5, "maximize": True},
        "centered": {"lr": 0.1, "alpha": 0.75, "eps": 0.1, "centered": True},
        "both": {"lr": 0.1, "alpha": 0.5, "eps": 0.1, "centered": True, "momentum": 0.9},
    },
    "Adafactor": {
        "default": {},
        "decay": {"lr": 0.25, "beta2_decay": -0.5, "eps": (1e-2, 0.25), "d": 2.0, "weight_decay": 0.1},
        "large": {"lr": 2.0, "eps": (1e-10, 1e-3), "maximize": True},
    },
    "Rprop": {
        "default": {},
        "etas": {"lr": 0.1, "etas": (0.25, 1.5), "step_sizes": (0.05, 0.2), "maximize": True},
        "above the bounds": {"lr": 1.0, "step_sizes": (0.01, 0.2)},
        "below the bounds": {"lr": 1e-3, "step_sizes": (0.01, 0.2)},
    },
    "ASGD": {
        "default": {},
        "fast": {"lr": 0.1, "lambd": 0.25, "alpha": 0.5, "t0": 3, "weight_decay": 0.1, "maximize": True},
    },
    "Muon": {
        "default": {},
        "matched": {
            "lr": 0.1,
            "weight_decay": 0.25,
            "momentum": 0.5,
            "nesterov": False,
            "ns_coefficients": (2.0, -1.5, 0.5),
            "ns_steps": 3,
            "eps": 0.5,
            "adjust_lr_fn": "match_rms_adamw",
        },
    },
}
"""The hyperparameters of each class, by a name for them."""

CASES = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]


def rate(name: str, setting: str) -> float:
    """Return the learning rate that a setting begins with."""
    given = SETTINGS[name][setting].get("lr")
    return float(getattr(torch.optim, name)([torch.zeros((1, 1))]).defaults["lr"] if given is None else given)


def build(name: str, setting: str, **changes: Any) -> GradientTransformation:
    """Return uniopt's transformation."""
    tx: GradientTransformation = getattr(dialect, name)(**{**SETTINGS[name][setting], **changes})
    return tx


def falling(name: str, setting: str, at: int) -> Hyper:
    """Return what makes the learning rate a quarter of it at some step; Rprop has only a first one."""
    if name == "Rprop":
        return {}
    return {"lr": uniopt.piecewise_constant_schedule(rate(name, setting), {at: 0.25})}


def _tree(make: Callable[..., Any]) -> Tree:
    return {"dense": {"w": make(4, 3), "b": make(3)}, "conv": [make(3, 2, 4), (make(), make(1))]}


def _matrices(make: Callable[..., Any]) -> Tree:
    return {"square": make(4, 4), "rest": [make(6, 4), (make(3, 5),)]}


def start_of(name: str, dtype: str, scale: float) -> Tree:
    """Return parameters that an optimizer takes: normal numbers times `scale`."""
    return problems.start_of(dtype, scale, _matrices if name == "Muon" else _tree)


def gradients_of(name: str, dtype: str, steps: int) -> list[Tree]:
    """Return gradients for those parameters."""
    return problems.gradients_of(dtype, steps, _matrices if name == "Muon" else _tree)


def without_some(stream: list[Tree]) -> list[Tree]:
    """Return the gradients without those of one leaf at first, and without those of the others later."""

    def kept(n: int, gradient: Tree) -> Tree:
        leaves, structure = uniopt.tree.flatten(gradient)
        late, pausing = n < 3, n == 5
        return uniopt.tree.unflatten(
            structure, [None if (late if i == 0 else pausing) else g for i, g in enumerate(leaves)]
        )

    return [kept(n, gradient) for n, gradient in enumerate(stream)]


@contextmanager
def scalars_like(dtype: str) -> Iterator[None]:
    """Let torch keep its own scalars, such as rates and products of momentums, in that dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def of_torch(name: str, setting: str, start: Tree, stream: list[Tree], falls_at: int | None = None) -> list[list[Any]]:
    """Return the leaves at the start and after each step of torch's own optimizer; ``None`` is no gradient."""
    leaves, structure = uniopt.tree.flatten(start)
    with scalars_like(str(leaves[0].dtype)):
        params = [torch.from_numpy(np.array(x)).requires_grad_() for x in leaves]
        optimizer = getattr(torch.optim, name)(params, **SETTINGS[name][setting])
        path = [[p.detach().numpy().copy() for p in params]]
        for n, gradient in enumerate(stream):
            if n == falls_at:
                optimizer.param_groups[0]["lr"] = rate(name, setting) * 0.25
            for p, g in zip(params, structure.flatten_up_to(gradient), strict=True):
                p.grad = None if g is None else torch.from_numpy(np.array(g))
            optimizer.step()
            path.append([p.detach().numpy().copy() for p in params])
    return path
