"""What torch's checks of its optimizers say of states, state dicts and hooks, with classes of the same names."""

from __future__ import annotations

import io
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from tests.integrations.torch_optimizers import (
    INFOS,
    NAMES,
    NEAR,
    Problem,
    arguments,
    both,
    distance,
    made,
    steps,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_state_goes_on_as_the_saved_one(name: str) -> None:
    for i in range(len(INFOS[name].optim_inputs_func("cpu"))):
        problem, optimizer = made(name, i)
        steps(optimizer, problem, 3)
        other, again = Problem(name), None
        for p, q in zip(other.params, problem.params, strict=True):
            p.data.copy_(q)
        again = both(name)[1](other.params, **arguments(name, i))
        saved = deepcopy(optimizer.state_dict())
        given = deepcopy(saved)
        again.load_state_dict(given)
        steps(optimizer, problem, 3)
        steps(again, other, 3)
        assert distance(problem.params, other.params) == 0.0
        same(optimizer.state_dict(), again.state_dict())


def same(x: Any, y: Any) -> None:
    """Compare two state dicts, exactly."""
    if isinstance(x, torch.Tensor):
        assert x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=0, atol=0)
    elif isinstance(x, dict):
        assert x.keys() == y.keys()
        for key in x:
            same(x[key], y[key])
    elif isinstance(x, list | tuple):
        assert len(x) == len(y)
        for a, b in zip(x, y, strict=True):
            same(a, b)
    else:
        assert x == y


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_of_older_versions(name: str) -> None:
    """They lack the flags that came later, and have numbers in place of 0-d tensors."""
    problem, optimizer = made(name)
    steps(optimizer, problem, 3)
    for flag in INFOS[name].not_og_supported_flags:
        older = deepcopy(optimizer.state_dict())
        for group in older["param_groups"]:
            group.pop(flag, None)
        optimizer.load_state_dict(older)
        steps(optimizer, problem, 1)
    older = deepcopy(optimizer.state_dict())
    for slots in older["state"].values():
        for key, x in slots.items():
            slots[key] = x.item() if x.shape == () else x
    optimizer.load_state_dict(older)
    steps(optimizer, problem, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_is_saved_with_weights_alone(name: str) -> None:
    problem, optimizer = made(name)
    steps(optimizer, problem, 1)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    same(torch.load(file, weights_only=True), optimizer.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_copies_have_all_public_attributes(name: str) -> None:
    problem, optimizer = made(name)
    steps(optimizer, problem, 1)

    def public(x: Any) -> set[str]:
        return {key for key in vars(x) if not key.startswith("_")}

    assert public(optimizer) == public(deepcopy(optimizer))


@pytest.mark.parametrize("name", NAMES)
def test_step_hooks(name: str) -> None:
    problem, optimizer = made(name)
    seen: list[Any] = []

    def note(word: str, opt: Any, args: Any, kwargs: Any) -> None:
        assert opt is optimizer
        seen.append(word)

    handles = [
        register_optimizer_step_pre_hook(partial(note, "before all")),
        optimizer.register_step_pre_hook(partial(note, "before")),
        optimizer.register_step_post_hook(partial(note, "after")),
        register_optimizer_step_post_hook(partial(note, "after all")),
    ]
    steps(optimizer, problem, 1)
    assert seen == ["before all", "before", "after", "after all"]
    for handle in handles:
        handle.remove()
    steps(optimizer, problem, 1)
    assert len(seen) == 4


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_hooks(name: str) -> None:
    problem, optimizer = made(name)
    steps(optimizer, problem, 1)
    seen: list[Any] = []
    optimizer.register_state_dict_pre_hook(lambda opt: seen.append("before"))
    optimizer.register_state_dict_post_hook(lambda opt, found: {**found, "more": 1})
    saved = optimizer.state_dict()
    assert (seen, saved.pop("more")) == (["before"], 1)

    def halve(opt: Any, given: dict[str, Any]) -> dict[str, Any]:
        seen.append({key for slots in given["state"].values() for key in slots})
        groups = [{**group, "lr": 0.5 * group["lr"]} for group in given["param_groups"]]
        return {**given, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(halve)
    optimizer.register_load_state_dict_post_hook(lambda opt: seen.append(opt.param_groups[0]["lr"]))
    before = optimizer.param_groups[0]["lr"]
    optimizer.load_state_dict(saved)
    assert seen[1:] == [{key for slots in saved["state"].values() for key in slots}, 0.5 * before]


@pytest.mark.parametrize("name", NAMES)
def test_without_gradients_a_step_does_nothing(name: str) -> None:
    problem, optimizer = made(name)
    before = [p.detach().clone() for p in problem.params]
    optimizer.step()
    assert distance(before, problem.params) == 0.0
    steps(optimizer, problem, 1)
    before, saved = [p.detach().clone() for p in problem.params], deepcopy(optimizer.state_dict())
    optimizer.zero_grad()
    optimizer.step()
    assert distance(before, problem.params) == 0.0
    same(optimizer.state_dict()["state"][1], saved["state"][1]) if saved["state"] else None


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_there_after_a_step(name: str) -> None:
    for i in range(len(INFOS[name].optim_inputs_func("cpu"))):
        found = []
        for make in both(name):
            problem = Problem(name)
            optimizer = make(problem.params, **arguments(name, i))
            steps(optimizer, problem, 1)
            found.append({key: set(slots) for key, slots in optimizer.state_dict()["state"].items() if slots})
        assert bool(found[0]) == bool(found[1])


@pytest.mark.parametrize("name", ["Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam", "RAdam", "SGD"])
def test_torchs_own_optimizer_goes_on(name: str) -> None:
    """With those of our state dicts that have all of its slots: each parameter counts for itself there."""
    theirs, ours = both(name)
    for i in range(len(INFOS[name].optim_inputs_func("cpu"))):
        problem, other = Problem(name), Problem(name)
        optimizer = ours(problem.params, **arguments(name, i))
        steps(optimizer, problem, 3)
        for p, q in zip(other.params, problem.params, strict=True):
            p.data.copy_(q)
        again = theirs(other.params, **arguments(name, i))
        again.load_state_dict(deepcopy(optimizer.state_dict()))
        steps(optimizer, problem, 3)
        steps(again, other, 3)
        assert distance(problem.params, other.params) <= NEAR.get(name, 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_torchs_own_state_goes_on(name: str) -> None:
    """A run that torch's optimizer began is continued, from its state dict."""
    for i in range(len(INFOS[name].optim_inputs_func("cpu"))):
        theirs, ours = both(name)
        problem = Problem(name)
        optimizer = theirs(problem.params, **arguments(name, i))
        steps(optimizer, problem, 4)
        other = Problem(name)
        for p, q in zip(other.params, problem.params, strict=True):
            p.data.copy_(q)
        again = ours(other.params)
        again.load_state_dict(deepcopy(optimizer.state_dict()))
        for x in (optimizer, again):
            for group in x.param_groups:
                group["lr"] *= 0.5
        steps(optimizer, problem, 4)
        steps(again, other, 4)
        assert distance(problem.params, other.params) <= max(NEAR.get(name, 1e-12), 1e-6 if name == "NAdam" else 0.0)
