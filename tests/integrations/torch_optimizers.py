"""torch's own data for the tests of its optimizers, and what stands for a model in them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from copy import deepcopy
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import torch

import uniopt.integrations.torch as ours

_MACHINERY = ("common_device_type", "common_methods_invocations", "common_utils")


def _database() -> Any:
    """Return torch.testing's module about optimizers, without the machinery of torch's tests, which it only decorates.

    That machinery needs packages that torch does not install.
    """
    package = "torch.testing._internal"
    decorators = ("tol", "toleranceOverride", "DecorateInfo", "skipIfMPS", "skipIfTorchDynamo")
    machinery = ModuleType("machinery")
    machinery.__dict__.update({name: MagicMock() for name in decorators})
    machinery.__dict__.update(_TestParametrizer=object, TEST_WITH_TORCHDYNAMO=False)
    stand_ins = {f"{package}.{name}": machinery for name in _MACHINERY}
    with patch.dict(sys.modules, stand_ins):
        return importlib.import_module(f"{package}.common_optimizers")


DATABASE = _database()
INFOS = {info.optim_cls.__name__: info for info in DATABASE.optim_db if hasattr(ours, info.optim_cls.__name__)}
"""What torch knows of each optimizer: arguments to try, schedulers, errors."""

CASES = [(name, i) for name, info in INFOS.items() for i in range(len(info.optim_inputs_func("cpu")))]


NAMES = sorted(INFOS)
NEAR = {"Muon": 1e-4, "NAdam": 1e-9, "ASGD": 1e-8}
"""How far, in float64: torch's Muon computes in bfloat16, and two of torch's optimizers have float32 scalars."""


def arguments(name: str, i: int, device: str = "cpu") -> dict[str, Any]:
    """Return the arguments of one of torch's cases."""
    return deepcopy(INFOS[name].optim_inputs_func(device)[i].kwargs)


def both(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return torch's class and ours."""
    return getattr(torch.optim, name), getattr(ours, name)


class Problem:
    """Two parameters, an input and a loss, as in torch's tests; matrices alone for Muon."""

    def __init__(self, name: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def make(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, dtype=dtype)

        self._is_muon = name == "Muon"
        self.params = [make(10, 5), make(10, 1) if self._is_muon else make(10)]
        self.params = [torch.nn.Parameter(p) for p in self.params]
        self._input = make(5, 1) if self._is_muon else make(5)

    def to(self, dtype: torch.dtype) -> None:
        """Give the parameters and the input another dtype."""
        self.params = [torch.nn.Parameter(p.detach().to(dtype)) for p in self.params]
        self._input = self._input.to(dtype)

    def loss(self) -> torch.Tensor:
        weight, bias = self.params
        return (weight @ self._input + bias).square().sum()

    def closure(self, optimizer: torch.optim.Optimizer) -> Callable[[], torch.Tensor]:
        """Return what computes the loss and the gradients anew."""

        def evaluate() -> torch.Tensor:
            optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss

        return evaluate


def distance(xs: Any, ys: Any) -> float:
    """Return the largest difference of two lists of tensors, as a share of the largest value in each."""
    found = 0.0
    for x, y in zip(xs, ys, strict=True):
        unit = max(x.detach().abs().max().item(), 1e-30)
        found = max(found, (x.detach() - y.detach()).abs().max().item() / unit)
    return found


def steps(optimizer: torch.optim.Optimizer, problem: Problem, count: int) -> None:
    """Take steps with a closure."""
    for _ in range(count):
        optimizer.step(problem.closure(optimizer))


def made(name: str, i: int = 0, **more: Any) -> tuple[Problem, Any]:
    """Return a problem and our optimizer for it, with the arguments of one of torch's cases and more."""
    problem = Problem(name)
    return problem, both(name)[1](problem.params, **{**arguments(name, i), **more})
