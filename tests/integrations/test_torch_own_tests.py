"""The checks that torch makes of its optimizers in test_optim.py, with classes of the same names put in their place.

torch's data about them (arguments to try, schedulers, errors) come with torch; the checks are written anew. Those of
what is torch's alone are left out: that ``foreach``, ``fused`` and ``capturable`` agree with the plain loop, and their
memory. Here all of them are the compiled step.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tests.integrations.torch_optimizers import (
    CASES,
    DATABASE,
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


def walk(make: Any, name: str, i: int, dtype: torch.dtype) -> list[Any]:
    """Return the parameters after 10 steps."""
    problem = Problem(name, dtype)
    steps(make(problem.params, **arguments(name, i)), problem, 10)
    return problem.params


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("name", "i"), CASES)
def test_every_case_of_torch_goes_torchs_way(name: str, i: int, dtype: torch.dtype) -> None:
    found = [walk(make, name, i, dtype) for make in both(name)]
    assert distance(*found) <= (NEAR.get(name, 1e-12) if dtype == torch.float64 else max(NEAR.get(name, 0.0), 2e-6))


@pytest.mark.parametrize(("name", "i"), CASES)
def test_bfloat16_is_no_farther_off_than_torchs(name: str, i: int) -> None:
    """torch rounds every operation to 8 bits, and moments too."""
    theirs, ours = (walk(make, name, i, torch.bfloat16) for make in both(name))
    exact = Problem(name, torch.bfloat16)
    exact.to(torch.float64)
    steps(both(name)[0](exact.params, **arguments(name, i)), exact, 10)
    assert distance(exact.params, ours) <= max(1.5 * distance(exact.params, theirs), 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_errors(name: str) -> None:
    """The kinds of errors are torch's; the words are uniopt's own where uniopt raises them."""
    for given in INFOS[name].optim_error_inputs_func("cpu", torch.float32):
        params, kwargs = given.optimizer_error_input.params, given.optimizer_error_input.kwargs
        if given.optimizer_error_input.desc in ALLOWED:
            both(name)[1]([torch.nn.Parameter(torch.ones(1, 1))], **kwargs)
            continue
        params = [torch.nn.Parameter(torch.ones(1, 1))] if params is None else params
        expected = (given.error_type, TypeError) if "complex" in given.error_regex else given.error_type
        if given.error_type is UserWarning:
            with pytest.warns(UserWarning, match=given.error_regex):
                both(name)[1](params, **kwargs)
        elif given.error_on is DATABASE.OptimizerErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(expected):
                both(name)[1](params, **kwargs)
        else:
            optimizer = both(name)[1](params, **kwargs)
            with pytest.raises(expected):
                optimizer.step()


ALLOWED = {
    "lr as Tensor doesn't work with foreach & not capturable",
    "betas must be either both floats or both Tensors",
    r"betas\[0\] as a Tensor is not supported for capturable=False and foreach=True",
}

"""What torch refuses because of how it is made, and uniopt takes."""


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("with_schedulers", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_goes_in_the_right_direction(name: str, with_schedulers: bool, contiguous: bool) -> None:
    sets: tuple[Any, ...] = tuple(INFOS[name].scheduler_inputs) if with_schedulers else ([],)
    for makers in sets:
        problem = Problem(name)
        if not contiguous:
            problem.params = [
                torch.nn.Parameter(torch.stack([p.detach(), p.detach()], -1)[..., 0]) for p in problem.params
            ]
        optimizer = both(name)[1](problem.params, lr=1e-3)
        schedulers = [make(optimizer) for make in makers]
        before = problem.loss().item()
        for _ in range(20):
            loss = optimizer.step(problem.closure(optimizer))
            for scheduler in schedulers:
                scheduler.step(loss.item()) if isinstance(scheduler, ReduceLROnPlateau) else scheduler.step()
        assert problem.loss().item() < before


@pytest.mark.parametrize("entry", ["lr", "weight_decay"])
@pytest.mark.parametrize("name", NAMES)
def test_groups_have_their_own_numbers(name: str, entry: str) -> None:
    if entry not in INFOS[name].optim_cls([torch.ones(1, 1)]).defaults:
        return
    found = []
    for make in both(name):
        problem = Problem(name)
        weight, bias = problem.params
        groups = [{"params": [weight]}, {"params": [bias], entry: 0.05}]
        optimizer = make(groups, lr=0.01)
        steps(optimizer, problem, 3)
        optimizer.param_groups[0][entry] = 0.02
        steps(optimizer, problem, 3)
        found.append(problem.params)
    assert distance(*found) <= NEAR.get(name, 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_learning_rates_may_be_tensors(name: str) -> None:
    """Also of one element, and changed in place."""
    found = []
    for lr in (torch.tensor(0.125), torch.tensor([0.125]), 0.125):
        problem = Problem(name)
        optimizer = both(name)[1](problem.params, lr=lr)
        steps(optimizer, problem, 2)
        if isinstance(lr, torch.Tensor):
            lr.mul_(0.5)
        else:
            optimizer.param_groups[0]["lr"] = 0.0625
        steps(optimizer, problem, 2)
        found.append(problem.params)
    assert distance(found[0], found[2]) == 0.0
    assert distance(found[1], found[2]) == 0.0


@pytest.mark.parametrize("name", [name for name in NAMES if INFOS[name].supports_complex])
def test_complex_parameters_are_two_real_ones(name: str) -> None:
    for i in range(len(INFOS[name].optim_inputs_func("cpu"))):
        torch.manual_seed(0)
        start = torch.randn(5, 5, dtype=torch.complex128)
        whole = [start.clone().requires_grad_() for _ in range(2)]
        parts = torch.view_as_real(start).clone().requires_grad_()
        theirs, ours = both(name)
        optimizers = [make([p], **arguments(name, i)) for make, p in zip((theirs, ours), whole, strict=True)]
        optimizers.append(ours([parts], **arguments(name, i)))
        for _ in range(3):
            g = torch.randn_like(start)
            whole[0].grad, whole[1].grad, parts.grad = g, g.clone(), torch.view_as_real(g).clone()
            for optimizer in optimizers:
                optimizer.step()
        assert distance([whole[0]], [whole[1]]) <= NEAR.get(name, 1e-12)
        assert distance([torch.view_as_real(whole[1])], [parts]) == 0.0


@pytest.mark.parametrize("name", [name for name in NAMES if INFOS[name].supports_sparse])
def test_sparse_gradients_are_taken_where_torch_takes_them(name: str) -> None:
    """Also where indices repeat, and after dense ones."""
    found = []
    for make in both(name):
        weight = torch.nn.Parameter(torch.ones(5, 2, dtype=torch.float64))
        optimizer = make([weight], lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))
        for rows in ([0, 1, 2, 3, 4], [0, 0, 3], [1], [3, 3]):
            optimizer.zero_grad()
            is_sparse = len(rows) < 5
            chosen = torch.nn.functional.embedding(torch.tensor(rows), weight, sparse=is_sparse)
            with torch.sparse.check_sparse_tensor_invariants():
                chosen.pow(2).sum().backward()
            assert weight.grad is not None
            assert weight.grad.is_sparse == is_sparse
            optimizer.step()
        found.append([weight])
    assert distance(*found) <= 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_the_default_dtype_changes_nothing(name: str) -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            problem, optimizer = made(name)
            steps(optimizer, problem, 3)
        finally:
            torch.set_default_dtype(torch.float32)
        found.append(problem.params)
    assert distance(*found) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_zero_gradients_move_nothing_without_decay(name: str) -> None:
    none = {"weight_decay": 0.0} if name in ("AdamW", "Muon") else {"lambd": 0.0} if name == "ASGD" else {}
    problem, optimizer = made(name, **none)
    before = [p.detach().clone() for p in problem.params]
    for p in problem.params:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert distance(before, problem.params) == 0.0


@pytest.mark.parametrize("pauses", [(0, 1, 2, 5), (3,), (2, 4, 6)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_gradient_takes_no_step(name: str, pauses: tuple[int, ...]) -> None:
    """It has no state before its first one."""
    found = []
    for make in both(name):
        problem = Problem(name)
        optimizer = make(problem.params, **arguments(name, len(INFOS[name].optim_inputs_func("cpu")) - 1))
        for n in range(8):
            problem.closure(optimizer)()
            if n in pauses:
                problem.params[0].grad = None
            optimizer.step()
            if n == 0 in pauses and make is both(name)[1]:
                assert not optimizer.state.get(problem.params[0])
        counts = [int(slots["step"]) for slots in optimizer.state.values() if "step" in slots]
        assert sorted(counts) in ([], [8 - len(pauses), 8])
        found.append(problem.params)
    assert distance(*found) <= NEAR.get(name, 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_it_prints(name: str) -> None:
    theirs, ours = (repr(make([torch.nn.Parameter(torch.ones(1, 1))])) for make in both(name))
    assert ours == theirs.replace("    decoupled_weight_decay: True\n", "")  # what makes an AdamW of torch's Adam


@pytest.mark.parametrize("name", NAMES)
def test_nothing_warns(name: str) -> None:
    """Not of a step that runs operation by operation, above all."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem, optimizer = made(name)
        steps(optimizer, problem, 2)
