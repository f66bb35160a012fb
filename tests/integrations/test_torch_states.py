"""States of optimizers: which parameters have one, what may be done with it, and in which dtypes it is."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

import uniopt
import uniopt.integrations.torch as ours
from tests.integrations.torch_optimizers import Problem, distance, steps
from uniopt import dialects
from uniopt.errors import StateError
from uniopt.integrations.torch import Optimizer


def test_frozen_parameters_have_no_state() -> None:
    """Also where the mask is a tree of all of them; a parameter that comes later gets its own."""
    first, second = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    second.requires_grad_(False)
    tx = uniopt.adamw(0.1, mask={"0": True, "1": False})
    optimizer = Optimizer([first, second], tx)
    for _ in range(3):
        first.grad = torch.ones(3)
        optimizer.step()
    assert set(optimizer.state_dict()["state"][0]) == {"count", "mu", "nu"}
    assert not optimizer.state.get(second)
    second.requires_grad_(True)
    second.grad = torch.ones(3)
    optimizer.step()
    assert set(optimizer.state[second]) == {"mu", "nu"}
    assert int(optimizer.state[first]["count"]) == 4


@pytest.mark.parametrize("named", [False, True])
def test_slots_are_their_parameters_where_masks_and_labels_are_trees(named: bool) -> None:
    """Also where the labels are the parameters' names."""
    problem = Problem("")
    names = ("w", "b") if named else ("0", "1")
    labels = dict(zip(names, names, strict=True))
    groups = uniopt.partition({names[0]: uniopt.adam(0.1), names[1]: uniopt.sgd(0.1, momentum=0.9)}, labels)
    masked = uniopt.masked(uniopt.ema(0.9), {names[0]: False, names[1]: True})
    pairs = list(zip(names, problem.params, strict=True))
    optimizer = Optimizer(pairs if named else problem.params, uniopt.chain(masked, groups))
    steps(optimizer, problem, 1)
    weight, bias = problem.params
    assert {name for name, x in optimizer.state[weight].items() if x.shape == weight.shape} == {"mu", "nu"}
    assert {name for name, x in optimizer.state[bias].items() if x.shape == bias.shape} == {"ema", "trace"}


def test_a_schedule_goes_on_where_a_parameter_pauses() -> None:
    """It counts updates, and each parameter its own steps; a state that is loaded goes on in the same way."""
    schedule = uniopt.linear_schedule(0.1, 0.9, 8)
    tx = dialects.torch.Adam(lr=schedule)
    optimized = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    params = {str(i): torch.ones(3) for i in range(2)}
    optimizer, state = ours.Adam(optimized, lr=schedule), tx.init(params)
    for n in range(8):
        grads = {"0": None if n in (3, 5) else torch.full((3,), 1.0 + n), "1": None if n == 4 else torch.ones(3)}
        for p, g in zip(optimized, grads.values(), strict=True):
            p.grad = g
        optimizer.step()
        updates, state = tx.update(grads, state, params)
        params = uniopt.apply_updates(params, updates)
        if n in (1, 6):
            saved = deepcopy(optimizer.state_dict())
            optimizer = ours.Adam(optimized, lr=schedule)
            optimizer.load_state_dict(saved)
    assert distance(params.values(), optimized) <= 1e-6


def test_groups_are_added_later() -> None:
    problem = Problem("")
    optimizer = ours.AdamW(problem.params[:1], lr=0.1)
    steps(optimizer, problem, 2)
    before = optimizer.state[problem.params[0]]["exp_avg"]
    optimizer.add_param_group({"params": problem.params[1], "lr": 0.01})
    steps(optimizer, problem, 1)
    assert optimizer.state[problem.params[0]]["exp_avg"] is before
    assert [int(optimizer.state[p]["step"]) for p in problem.params] == [3, 1]


def test_a_state_may_be_taken_away_or_changed() -> None:
    """As torch's: `state` is what the next step begins with."""
    expected = []
    for module in (torch.optim, ours):
        problem = Problem("")
        optimizer = module.Adam(problem.params, lr=0.1)
        steps(optimizer, problem, 3)
        optimizer.state[problem.params[0]]["exp_avg"] = torch.zeros_like(problem.params[0])
        optimizer.state[problem.params[1]].clear()
        steps(optimizer, problem, 2)
        optimizer.state.clear()
        steps(optimizer, problem, 2)
        expected.append(problem.params)
    assert distance(*expected) <= 1e-12


@pytest.mark.parametrize("make", [lambda p: Optimizer(p, uniopt.adam(0.1)), ours.AdamW, ours.SGD])
def test_states_of_16_bit_parameters_stay_in_float32(make: Any) -> None:
    p, q = (torch.nn.Parameter(torch.ones(8, dtype=torch.bfloat16)) for _ in range(2))
    optimizer, again = make([p]), make([q])
    p.grad = torch.full_like(p, 1 / 3)
    optimizer.step()
    saved = deepcopy(optimizer.state_dict())
    again.load_state_dict(saved)
    q.data.copy_(p)
    for name, x in again.state_dict()["state"].get(0, {}).items():
        assert x.dtype == optimizer.state[p][name].dtype == (torch.int32 if x.ndim == 0 else torch.float32)
        assert torch.equal(x, saved["state"][0][name])
    q.grad = p.grad.clone()
    optimizer.step(), again.step()
    assert torch.equal(p, q)


def test_the_state_of_another_optimizer_is_refused() -> None:
    problem, other = Problem(""), Problem("")
    optimizer = torch.optim.Adagrad(problem.params)
    steps(optimizer, problem, 1)
    again = ours.Adam(other.params)
    again.load_state_dict(optimizer.state_dict())
    with pytest.raises(StateError, match="has step, sum for parameter 0, expected exp_avg, exp_avg_sq, step"):
        steps(again, other, 1)
