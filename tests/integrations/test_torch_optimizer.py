"""uniopt's own transformations as optimizers of torch: their groups, states, schedules and errors."""

from __future__ import annotations

import inspect
import pickle
from copy import deepcopy
from typing import Any

import jax.numpy as jnp
import mlx.optimizers
import numpy as np
import pytest
import torch

import uniopt
import uniopt.integrations.torch as ours
from tests.integrations.torch_optimizers import INFOS, Problem, distance
from uniopt import dialects
from uniopt.errors import HyperparameterError, LeafError
from uniopt.integrations.torch import Optimizer

NATIVE = {
    "lion": uniopt.lion(1e-2),
    "adamw": uniopt.adamw(1e-2, weight_decay=0.1),
    "sgd": uniopt.sgd(1e-2, momentum=0.9, nesterov=True),
    "muon": uniopt.muon(1e-2),
    "lamb": uniopt.lamb(1e-2),
    "rprop": uniopt.rprop(1e-2),
    "sm3": uniopt.sm3(1e-2),
    "schedule_free": uniopt.schedule_free_adamw(1e-2),
    "clipped": uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adam(1e-2)),
    "scheduled": uniopt.adamw(uniopt.cosine_decay_schedule(1e-2, 10), weight_decay=0.1),
    "accumulated": uniopt.MultiSteps(uniopt.adam(1e-2), 2),
    "none": uniopt.chain(uniopt.scale_by_adam(), uniopt.scale(-1e-2)),
}


def walk(optimizer: Any, problem: Problem, steps: int = 6) -> list[Any]:
    for _ in range(steps):
        optimizer.step(problem.closure(optimizer))
    return problem.params


def by_hand(tx: Any, steps: int = 6) -> list[Any]:
    """Return the parameters after steps of `update` and `apply_updates`."""
    problem = Problem("")
    state = None
    for _ in range(steps):
        for p in problem.params:
            p.grad = None
        problem.loss().backward()
        grads = {str(i): p.grad for i, p in enumerate(problem.params)}
        with torch.no_grad():
            params = {str(i): p for i, p in enumerate(problem.params)}
            state = tx.init(params) if state is None else state
            updates, state = tx.update(grads, state, params, value=problem.loss().detach())
            problem.params = [torch.nn.Parameter(p) for p in uniopt.apply_updates(params, updates).values()]
    return problem.params


@pytest.mark.parametrize("name", NATIVE)
def test_steps_are_those_of_the_transformation(name: str) -> None:
    problem = Problem("")
    assert distance(by_hand(NATIVE[name]), walk(Optimizer(problem.params, NATIVE[name]), problem)) <= 1e-12


@pytest.mark.parametrize("name", NATIVE)
def test_a_loaded_state_goes_on(name: str) -> None:
    problem, other = Problem(""), Problem("")
    optimizer = Optimizer(problem.params, NATIVE[name])
    walk(optimizer, problem, 3)
    for p, q in zip(other.params, problem.params, strict=True):
        p.data.copy_(q)
    again = Optimizer(other.params, NATIVE[name])
    again.load_state_dict(deepcopy(optimizer.state_dict()))
    assert distance(walk(optimizer, problem, 3), walk(again, other, 3)) == 0.0


@pytest.mark.parametrize("copied", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("make", [lambda p: Optimizer(p, NATIVE["adamw"]), ours.AdamW], ids=["native", "AdamW"])
def test_copies_go_on(make: Any, copied: Any) -> None:
    problem = Problem("")
    optimizer = make(problem.params)
    walk(optimizer, problem, 3)
    other = Problem("")
    again = copied(optimizer)
    other.params = again.param_groups[0]["params"]
    assert other.params[0] is not problem.params[0]
    assert distance(walk(optimizer, problem, 3), walk(again, other, 3)) == 0.0


@pytest.mark.parametrize(
    ("tx", "entries"),
    [
        (uniopt.adamw(1e-3), {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "eps_root": 0.0, "weight_decay": 1e-4}),
        (uniopt.sgd(0.1, momentum=0.5), {"lr": 0.1, "momentum": 0.5, "dampening": 0.0}),
        (uniopt.adam(uniopt.constant_schedule(0.5)), {"lr": 1.0, "betas": (0.9, 0.999), "eps": 1e-8, "eps_root": 0.0}),
        (uniopt.scale_by_sign(), {"lr": 1.0}),
        (uniopt.partition({"a": uniopt.sgd(0.1), "b": uniopt.sgd(0.2)}, "a"), {"lr": 1.0}),
        (uniopt.partition({"a": uniopt.sgd(0.1), "b": uniopt.sgd(0.1)}, "a"), {"lr": 0.1}),
        (uniopt.chain(uniopt.clip_by_global_norm(2.0), uniopt.sgd(0.1)), {"lr": 0.1, "max_norm": 2.0}),
        (uniopt.inject_hyperparams(uniopt.sgd)(0.1), {"lr": 1.0}),
    ],
    ids=repr,
)
def test_numbers_are_entries_of_groups(tx: Any, entries: dict[str, Any]) -> None:
    optimizer = Optimizer([torch.nn.Parameter(torch.ones(2))], tx)
    assert optimizer.defaults == entries


CHANGES: list[tuple[Any, dict[str, Any], Any]] = [
    (uniopt.adamw(1e-2), {"lr": 0.05}, uniopt.adamw(0.05)),
    (uniopt.adamw(1e-2), {"weight_decay": 0.5}, uniopt.adamw(1e-2, weight_decay=0.5)),
    (uniopt.adamw(1e-2), {"betas": (0.5, 0.75), "eps": 1e-2}, uniopt.adamw(1e-2, b1=0.5, b2=0.75, eps=1e-2)),
    (uniopt.sgd(0.1, momentum=0.5), {"momentum": 0.25}, uniopt.sgd(0.1, momentum=0.25)),
    (
        uniopt.adam(uniopt.linear_schedule(0.1, 0.2, 9)),
        {"lr": 0.5},
        uniopt.adam(uniopt.linear_schedule(0.05, 0.1, 9)),
    ),
    (NATIVE["none"], {"lr": 0.5}, uniopt.chain(uniopt.scale_by_adam(), uniopt.scale(-5e-3))),
    (
        uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.sgd(0.1)),
        {"max_norm": 0.5},
        uniopt.chain(uniopt.clip_by_global_norm(0.5), uniopt.sgd(0.1)),
    ),
]


@pytest.mark.parametrize(("tx", "entries", "as_if"), CHANGES)
def test_entries_are_what_the_step_is_made_of(tx: Any, entries: dict[str, Any], as_if: Any) -> None:
    expected = by_hand(as_if)
    first, later, grouped = Problem(""), Problem(""), Problem("")
    by_group = Optimizer([{"params": first.params, **entries}], tx)
    changed = Optimizer(later.params, tx)
    changed.param_groups[0].update(entries)
    each = Optimizer([{"params": [p], **entries} for p in grouped.params], tx)
    for optimizer, problem in ((by_group, first), (changed, later), (each, grouped)):
        assert distance(expected, walk(optimizer, problem)) <= 1e-12


def test_groups_differ_in_any_number() -> None:
    expected = Problem("")
    for i, hyper in enumerate(({}, {"b1": 0.5, "eps": 1e-2, "weight_decay": 0.0})):
        tx = uniopt.chain(uniopt.adamw(0.1 / (i + 1), **hyper))
        problem = Problem("")
        walk(Optimizer(problem.params, uniopt.chain(uniopt.scale(1.0), tx)), problem, 1)
        expected.params[i] = problem.params[i]
    problem = Problem("")
    groups = [
        {"params": problem.params[:1]},
        {"params": problem.params[1:], "lr": 0.05, "betas": (0.5, 0.999), "eps": 1e-2, "weight_decay": 0.0},
    ]
    assert distance(expected.params, walk(Optimizer(groups, uniopt.adamw(0.1)), problem, 1)) <= 1e-12


def test_a_norm_is_of_all_groups() -> None:
    tx = uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.sgd(0.1))
    whole, apart = Problem(""), Problem("")
    groups = [{"params": [p]} for p in apart.params]
    assert distance(walk(Optimizer(whole.params, tx), whole), walk(Optimizer(groups, tx), apart)) <= 1e-15


def test_one_number_for_all_is_not_given_to_groups() -> None:
    tx = uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.sgd(0.1))
    problem = Problem("")
    groups = [{"params": [p], "max_norm": float(i + 1)} for i, p in enumerate(problem.params)]
    with pytest.raises(HyperparameterError, match="max_norm of clip_by_global_norm is one number"):
        walk(Optimizer(groups, tx), problem, 1)


def test_names_are_paths() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    start = deepcopy(model)
    tx = uniopt.partition(
        {"weight": uniopt.sgd(0.1), "bias": uniopt.set_to_zero()},
        uniopt.path_labels({"*.weight": "weight", "*.bias": "bias"}),
    )
    optimizer = Optimizer(model.named_parameters(), tx)
    model(torch.ones(2, 3)).square().sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    for (name, p), q in zip(model.named_parameters(), start.parameters(), strict=True):
        assert torch.equal(p, q) == name.endswith("bias")


def test_the_loss_is_an_extra_argument() -> None:
    problem = Problem("")
    optimizer = Optimizer(problem.params, uniopt.polyak_sgd(1.0))
    loss = problem.closure(optimizer)()
    optimizer.step(value=loss.detach())
    other = Problem("")
    walk(Optimizer(other.params, uniopt.polyak_sgd(1.0)), other, 1)
    assert distance(problem.params, other.params) == 0.0


def test_the_loss_may_be_a_number() -> None:
    found = []
    for convert in (torch.clone, torch.Tensor.item):
        problem = Problem("")
        optimizer = Optimizer(problem.params, uniopt.polyak_sgd(1.0))
        closure = problem.closure(optimizer)
        for _ in range(2):
            optimizer.step(lambda closure=closure, convert=convert: convert(closure()))
        found.append(problem.params)
    assert distance(*found) == 0.0


def test_a_step_with_a_closure_returns_the_loss() -> None:
    problem = Problem("")
    optimizer = Optimizer(problem.params, uniopt.sgd(0.1))
    with torch.no_grad():
        assert optimizer.step(problem.closure(optimizer)).item() == Problem("").loss().item()
    assert optimizer.step() is None


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([jnp.ones(2)], "params[0] is an array of jax (ArrayImpl), expected a torch.nn.Parameter"),
        ([torch.nn.Parameter(torch.ones(2)), np.ones(2)], "params[1] is an array of numpy (ndarray)"),
        ([("w", np.ones(2))], "uniopt.compile(tx)"),
        ([{"params": [jnp.ones(2)]}], "Arrays of jax need no torch optimizer"),
        (torch.nn.Linear(2, 2), "Pass model.parameters()"),
    ],
)
@pytest.mark.parametrize("make", [lambda p: Optimizer(p, uniopt.sgd(0.1)), ours.SGD], ids=["Optimizer", "SGD"])
def test_foreign_objects_are_refused(make: Any, params: Any, words: str) -> None:
    with pytest.raises(LeafError) as found:
        make(params)
    assert words in str(found.value)


def test_other_wrong_input() -> None:
    p = torch.nn.Parameter(torch.ones(2))
    for theirs in (torch.optim.SGD([p], lr=0.1), mlx.optimizers.SGD(0.1)):
        with pytest.raises(HyperparameterError, match=r"own optimizer SGD, .* uniopt.dialects.(torch|mlx).SGD\(...\)"):
            Optimizer([p], theirs)  # type: ignore[arg-type]  # refused
    with pytest.raises(HyperparameterError, match=r"betas\[0\] is 2.0"):
        ours.Adam([{"params": [p], "betas": (2.0, 0.9)}])
    with pytest.raises(HyperparameterError, match="differentiable is True"):
        ours.Adam([p], differentiable=True)
    with pytest.raises(HyperparameterError, match="differentiable is True"):
        ours.Adam([{"params": [p], "differentiable": True}])
    optimizer = ours.Adam([p], lr=0.1)
    p.grad = torch.sparse_coo_tensor([[0]], [1.0], (2,), check_invariants=True)
    with pytest.raises(LeafError, match=r"has layout torch\.sparse_coo, expected a dense one"):
        optimizer.step()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"lr": "0.1"}, "lr is '0.1', expected a number not below 0"),
        ({"lr": uniopt.constant_schedule(0.1)}, "lr is constant_schedule"),
        ({"weight_decay": None}, "weight_decay is None, expected a number"),
        ({"betas": (0.9, 1.5)}, "betas[1] is 1.5, expected a number in [0, 1)"),
        ({"betas": 0.9}, "betas is 0.9, expected two numbers"),
    ],
    ids=str,
)
def test_entries_are_checked(entry: dict[str, Any], words: str) -> None:
    """Where a group is given, and at the step after an entry is changed."""
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    changed = Optimizer([p], uniopt.adamw(0.1))
    changed.param_groups[0].update(entry)
    for action in (lambda: Optimizer([{"params": [p], **entry}], uniopt.adamw(0.1)), changed.step):
        with pytest.raises(HyperparameterError) as found:
            action()
        assert words in str(found.value)


@pytest.mark.parametrize("name", INFOS)
def test_classes_are_described_as_torchs(name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(torch.optim, name)
    ours_of, theirs_of = (list(inspect.signature(x).parameters.values()) for x in (mine, theirs))
    assert [(p.name, p.kind, p.default) for p in ours_of] == [(p.name, p.kind, p.default) for p in theirs_of]
    assert issubclass(mine, torch.optim.Optimizer)
    assert mine.__name__ == name
    first, _, rest = (mine.__doc__ or "").partition("Parameters\n")
    assert first == getattr(dialects.torch, name).__doc__.partition("    Parameters\n")[0].replace("\n    ", "\n")
    assert rest.startswith("----------\nparams\n")


def test_a_subclass_is_one_too() -> None:
    class Mine(ours.SGD):
        """One that does nothing else."""

    problem, other = Problem(""), Problem("")
    found = [walk(make(x.params, lr=0.1), x) for make, x in ((Mine, problem), (ours.SGD, other))]
    assert distance(*found) == 0.0
    assert inspect.signature(Mine) == inspect.signature(ours.SGD)
