"""What is no optimizer of torch, no state_dict of one, and no parameters of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

import uniopt
from tests.porting.runs import TorchRun, gradients_of, start_of
from uniopt import porting
from uniopt.errors import PortingError

START = start_of("float32")


def run_of_adam() -> TorchRun:
    return TorchRun("Adam", START, {"lr": 0.1}).run(gradients_of("float32", 2))


def without(saved: Any, *keys: Any) -> Any:
    """Return a copy of a dict without what some keys lead to, one after another."""
    changed = inner = copy.deepcopy(saved)
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return changed


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "The optimizer is builtins.NoneType, expected one of torch.optim": lambda _: None,
    "The optimizer is torch.nn.modules.linear.Linear": lambda _: torch.nn.Linear(1, 1),
    r"The optimizer is a dict with nothing, expected its state_dict\(\)": lambda _: {},
    "The optimizer is a dict with state, expected": lambda o: without(o.state_dict(), "param_groups"),
    "The optimizer's state of conv.weight has no step, but exp_avg, exp_avg_sq": lambda o: without(
        o.state_dict(), "state", 0, "step"
    ),
    r"params\['conv.weight'\] has no scale_by_adam.mu": lambda o: without(o.state_dict(), "state", 0, "exp_avg"),
}


@pytest.mark.parametrize("reason", OPTIMIZERS)
def test_no_optimizer(reason: str) -> None:
    run = run_of_adam()
    with pytest.raises(PortingError, match=reason):
        porting.from_torch(OPTIMIZERS[reason](run.optimizer), run.named, "numpy")


PARAMETERS: dict[str, Callable[[TorchRun], Any]] = {
    "named_parameters is list, expected pairs": lambda run: list(run.named.values()),
    "named_parameters is generator, expected pairs": lambda _: torch.nn.Linear(2, 2).parameters(),
    "named_parameters is Linear, expected pairs": lambda _: torch.nn.Linear(2, 2),
    "gain and again are one parameter": lambda run: {**run.named, "again": run.named["gain"]},
}


@pytest.mark.parametrize("reason", PARAMETERS)
def test_no_parameters_by_name(reason: str) -> None:
    run = run_of_adam()
    tx = uniopt.adam(0.1)
    with pytest.raises(PortingError, match=reason):
        porting.from_torch(run.optimizer, PARAMETERS[reason](run), "numpy")
    with pytest.raises(PortingError, match=reason):
        porting.to_torch(tx, tx.init(START), run.optimizer, PARAMETERS[reason](run))


def test_a_state_dict_cannot_be_loaded_into() -> None:
    run, tx = run_of_adam(), uniopt.adam(0.1)
    with pytest.raises(PortingError, match="Pass the optimizer itself"):
        porting.to_torch(tx, tx.init(START), run.optimizer.state_dict(), run.named)


def test_a_scheduler_of_another_optimizer() -> None:
    run, tx = run_of_adam(), uniopt.adam(uniopt.exponential_decay(0.1, 1, 0.5))
    other = torch.optim.SGD([{"params": [p]} for p in run.named.values()], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(other, 0.5)
    with pytest.raises(PortingError, match="an optimizer with 5 groups of parameters, and this one has 1"):
        porting.from_torch(run.optimizer, run.named, "numpy", scheduler=scheduler)
    with pytest.raises(PortingError, match="an optimizer with 5 groups of parameters, and this one has 1"):
        porting.to_torch(tx, tx.init(START), run.optimizer, run.named, scheduler=scheduler)


def test_what_uniopt_does_not_take() -> None:
    run = TorchRun("SGD", START, {"momentum": 0.5, "dampening": 1.0})
    with pytest.raises(PortingError, match="torch takes more in SGD of group 0 than uniopt: dampening is 1"):
        porting.from_torch(run.optimizer, run.named, "numpy")
