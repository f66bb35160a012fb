"""Every learning rate scheduler of torch, on torch's optimizer and on ours, and what they compile."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler, swa_utils
from uniopt.backends.fusion import step as fused

import uniopt
import uniopt.integrations.torch as ours
from tests.integrations.torch_optimizers import INFOS, Problem, distance

Make = Callable[[torch.optim.Optimizer], Any]

SCHEDULERS: dict[str, Make] = {
    "LambdaLR": lambda opt: lr_scheduler.LambdaLR(opt, lambda n: 0.9**n),
    "MultiplicativeLR": lambda opt: lr_scheduler.MultiplicativeLR(opt, lambda n: 0.9),
    "StepLR": lambda opt: lr_scheduler.StepLR(opt, 3, gamma=0.5),
    "MultiStepLR": lambda opt: lr_scheduler.MultiStepLR(opt, [2, 5], gamma=0.5),
    "ConstantLR": lambda opt: lr_scheduler.ConstantLR(opt, factor=0.5, total_iters=4),
    "LinearLR": lambda opt: lr_scheduler.LinearLR(opt, start_factor=0.25, total_iters=6),
    "ExponentialLR": lambda opt: lr_scheduler.ExponentialLR(opt, 0.8),
    "PolynomialLR": lambda opt: lr_scheduler.PolynomialLR(opt, total_iters=6, power=2.0),
    "CosineAnnealingLR": lambda opt: lr_scheduler.CosineAnnealingLR(opt, T_max=4, eta_min=1e-3),
    "CosineAnnealingWarmRestarts": lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=3),
    "ReduceLROnPlateau": lambda opt: lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=0, threshold=0.99),
    "CyclicLR": lambda opt: lr_scheduler.CyclicLR(opt, 0.01, 0.1, step_size_up=3),
    "OneCycleLR": lambda opt: lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=20),
    "SequentialLR": lambda opt: lr_scheduler.SequentialLR(
        opt, [lr_scheduler.ConstantLR(opt, 0.5, 3), lr_scheduler.ExponentialLR(opt, 0.8)], milestones=[3]
    ),
    "ChainedScheduler": lambda opt: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(opt, 0.5, 3), lr_scheduler.ExponentialLR(opt, 0.8)]
    ),
    "SWALR": lambda opt: swa_utils.SWALR(opt, swa_lr=0.01, anneal_epochs=4),
}

OPTIMIZERS = [
    pytest.param(name, marks=[] if name in ("AdamW", "SGD", "RMSprop") else pytest.mark.wide) for name in sorted(INFOS)
]
NEAR = {"Muon": 1e-4, "NAdam": 1e-8, "ASGD": 1e-7}
"""In float64: torch's Muon computes in bfloat16, and two of torch's optimizers have float32 scalars."""

CYCLES = {"CyclicLR", "OneCycleLR"}
"""They change the momentum too."""


def test_none_is_left_out() -> None:
    found = {
        name
        for name, x in vars(lr_scheduler).items()
        if inspect.isclass(x) and issubclass(x, lr_scheduler.LRScheduler) and x.__module__ == lr_scheduler.__name__
    }
    assert {name for name in found if not name.startswith("_")} - {"LRScheduler"} == SCHEDULERS.keys() - {"SWALR"}


def walk(optimizer: torch.optim.Optimizer, problem: Problem, make: Make, steps: int = 12) -> list[Any]:
    """Return the parameters after some steps, each followed by the scheduler's, and the numbers of each step."""
    scheduler, numbers = make(optimizer), []
    for _ in range(steps):
        loss = optimizer.step(problem.closure(optimizer))
        is_plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        scheduler.step(loss.item()) if is_plateau else scheduler.step()  # type: ignore[attr-defined]
        group = optimizer.param_groups[0]
        numbers.append((group["lr"], group.get("betas"), group.get("momentum")))
    return [problem.params, numbers]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 4e-6)], ids=["64", "32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_path_is_torchs(name: str, optimizer: str, dtype: torch.dtype, bound: float) -> None:
    found = []
    kind = getattr(torch.optim, optimizer)
    if name in CYCLES and not {"momentum", "betas"} & inspect.signature(kind).parameters.keys():
        return  # for optimizers with a momentum
    wanted = {"weight_decay": 0.1, "momentum": 0.9} if optimizer != "Muon" else {"weight_decay": 0.1}
    more = {key: x for key, x in wanted.items() if key in inspect.signature(kind).parameters}
    for module in (torch.optim, ours):
        problem = Problem(optimizer, dtype)
        made = getattr(module, optimizer)(problem.params, lr=0.02, **more)
        found.append(walk(made, problem, SCHEDULERS[name]))
    assert found[0][1] == found[1][1]
    assert len({str(numbers) for numbers in found[0][1]}) > 1  # the scheduler has done something
    assert distance(found[0][0], found[1][0]) <= max(bound, NEAR.get(optimizer, 0.0))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list that gets an entry for each recording of a step."""
    found: list[Any] = []
    whole = fused.FusedStep._record

    def record(self: Any, *args: Any) -> Any:
        found.append(args)
        return whole(self, *args)

    monkeypatch.setattr(fused.FusedStep, "_record", record)
    return found


@pytest.mark.parametrize("native", [False, True], ids=["AdamW", "adamw"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_step_is_compiled_once(name: str, native: bool, plans: list[Any]) -> None:
    """Where the momentum changes too it becomes an input of the step, which is compiled again for that, once."""
    problem = Problem("AdamW")
    made = (
        ours.Optimizer(problem.params, uniopt.adamw(0.02, weight_decay=0.1))
        if native
        else ours.AdamW(problem.params, lr=0.02, weight_decay=0.1)
    )
    walk(made, problem, SCHEDULERS[name])
    assert len(plans) == (2 if name in CYCLES else 1)


def test_a_decay_that_begins_is_compiled_and_one_that_changes_is_not(plans: list[Any]) -> None:
    problem = Problem("SGD")
    optimizer = ours.SGD(problem.params, lr=0.01)
    for decay, count in ((0.0, 1), (0.1, 2), (0.2, 2), (0.3, 2), (0.0, 3)):
        optimizer.param_groups[0]["weight_decay"] = decay
        optimizer.step(problem.closure(optimizer))
        assert len(plans) == count


@pytest.mark.parametrize("number", [float, int, np.float32, np.float64, np.asarray, torch.tensor])
def test_kinds_of_numbers(number: Callable[[float], Any], plans: list[Any]) -> None:
    """A schedule may be computed by NumPy or torch."""
    problem = Problem("AdamW")
    optimizer = ours.AdamW(problem.params, lr=0.5)
    for rate in (1.0, 2.0, 3.0, 4.0):
        optimizer.param_groups[0]["lr"] = number(rate)
        optimizer.step(problem.closure(optimizer))
    assert len(plans) == 1


def test_an_array_that_changes_in_place() -> None:
    problem = Problem("SGD")
    optimizer = ours.SGD(problem.params, lr=np.asarray(0.5))
    optimizer.step(problem.closure(optimizer))
    before = [p.detach().clone() for p in problem.params]
    optimizer.param_groups[0]["lr"][...] = 0.0
    optimizer.step(problem.closure(optimizer))
    assert all(torch.equal(p, q) for p, q in zip(problem.params, before, strict=True))


def test_groups_of_one_step(plans: list[Any]) -> None:
    """Several groups are one program, and their numbers change apart."""
    found = []
    for module in (torch.optim, ours):
        problem = Problem("AdamW")
        weight, bias = problem.params
        groups = [{"params": [weight]}, {"params": [bias], "lr": 0.01, "weight_decay": 0.0}]
        optimizer = module.AdamW(groups, lr=0.1, weight_decay=0.1)
        walk(optimizer, problem, lambda opt: lr_scheduler.LambdaLR(opt, [lambda n: 0.9**n, lambda n: 0.5**n]))
        found.append(problem.params)
    assert distance(*found) <= 1e-12
    assert len(plans) == 1
