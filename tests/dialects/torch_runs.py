"""torch's own optimizers on nested trees, and the settings in which the dialect is held against them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from uniopt.conformance import dialects
from uniopt.conformance.dialects import torch as own
from uniopt.conformance.peers.torch import follow
from uniopt.conformance.problems import Problem

import uniopt
from tests.dialects import problems
from tests.dialects.problems import Tree
from uniopt import GradientTransformation
from uniopt.dialects import torch as dialect

Hyper = dict[str, Any]

SETTINGS = own.SETTINGS
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
    return {"lr": dialects.falling(rate(name, setting), at).for_uniopt}


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


def of_torch(name: str, setting: str, start: Tree, stream: list[Tree], falls_at: int | None = None) -> list[list[Any]]:
    """Return the leaves at the start and after each step of torch's own optimizer; ``None`` is no gradient."""
    make = partial(getattr(torch.optim, name), **SETTINGS[name][setting])
    schedule = None if falls_at is None else dialects.falling(rate(name, setting), falls_at).plain
    return follow(make, schedule, Problem(name, start, tuple(stream)))
