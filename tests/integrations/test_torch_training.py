"""What stands round an optimizer in torch's training loops: scaled losses, clipping, averages, compiled models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import swa_utils

import uniopt
import uniopt.integrations.torch as ours
from tests.integrations.torch_optimizers import Problem, distance
from tests.processes import run_together


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()


X = torch.linspace(-1, 1, 64, dtype=torch.float64).reshape(16, 4)


def both(run: Any, **more: Any) -> None:
    """Run a training loop with torch's AdamW and with ours; the models are the same afterwards."""
    found = []
    for make in (torch.optim.AdamW, ours.AdamW):
        net = model()
        result = run(net, make(net.parameters(), lr=0.05, weight_decay=0.1, **more))
        found.append([p.double() for p in (result or net).parameters()])
    assert distance(*found) <= 1e-12


def test_clipping_of_gradients() -> None:
    def run(net: torch.nn.Module, optimizer: Any) -> None:
        for _ in range(5):
            optimizer.zero_grad(set_to_none=False)
            net(X).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()

    both(run)


def test_scaled_losses() -> None:
    """A step is left out where a gradient is infinite; it does not count."""

    def run(net: torch.nn.Module, optimizer: Any) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
        for n in range(8):
            optimizer.zero_grad()
            scaler.scale(net(X).square().mean()).backward()
            if n == 3:
                next(net.parameters()).grad.mul_(torch.inf)
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        counts = {int(slots["step"]) for slots in optimizer.state.values()}
        assert counts == {7}

    both(run)


def test_averages_of_weights() -> None:
    def run(net: torch.nn.Module, optimizer: Any) -> torch.nn.Module:
        average = swa_utils.AveragedModel(net)
        scheduler = swa_utils.SWALR(optimizer, swa_lr=0.01, anneal_epochs=3)
        for _ in range(6):
            optimizer.zero_grad()
            net(X).square().mean().backward()
            optimizer.step()
            average.update_parameters(net)
            scheduler.step()
        swa_utils.update_bn([X], average)
        return average.module

    both(run)


def test_autograd_knows_of_the_step() -> None:
    """A graph from before the step is not run backward with parameters from after it."""
    net = model()
    optimizer = ours.SGD(net.parameters(), lr=0.1)
    loss = net(X).square().mean()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_gradients_stay_as_they_are() -> None:
    problem = Problem("")
    optimizer = ours.SGD(problem.params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    for _ in range(2):
        problem.closure(optimizer)()
        before = [p.grad.clone() for p in problem.params]  # type: ignore[union-attr]  # they have been computed
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(problem.params, before, strict=True))  # type: ignore[arg-type]  # set


def test_parameters_that_move() -> None:
    """``p.data = ...`` and ``module.to(...)`` change where a parameter lies, or its dtype."""

    def run(net: torch.nn.Module, optimizer: Any) -> None:
        for n in range(6):
            optimizer.zero_grad()
            net(X).square().mean().backward()
            optimizer.step()
            if n == 2:
                for p in net.parameters():
                    p.data = p.data.clone()

    both(run)


def test_complex_parameters_that_move() -> None:
    found = []
    for make in (torch.optim.Adam, ours.Adam):
        p = torch.nn.Parameter(torch.ones(3, dtype=torch.complex128))
        optimizer = make([p], lr=0.1)
        for n in range(4):
            p.grad = torch.full_like(p.detach(), complex(n, 1.0))
            optimizer.step()
            p.data = p.data.clone()
        found.append([p])
    assert distance(*found) <= 1e-12


def test_tied_parameters() -> None:
    def run(net: Any, optimizer: Any) -> None:
        for _ in range(4):
            optimizer.zero_grad()
            (net(X).square().mean() + net[0].weight.sum()).backward()
            optimizer.step()

    found = []
    for make in (torch.optim.AdamW, ours.AdamW):
        net: Any = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4)).double()
        for n, p in enumerate(net.parameters()):
            torch.nn.init.constant_(p, 0.1 * (n + 1))
        net[2].weight = net[0].weight
        run(net, make(net.parameters(), lr=0.05))
        found.append(list(net.parameters()))
    assert distance(*found) <= 1e-12


def test_compiled_models() -> None:
    torch.compiler.reset()

    def run(net: torch.nn.Module, optimizer: Any) -> None:
        compiled = torch.compile(net, backend="eager")
        for _ in range(4):
            optimizer.zero_grad()
            compiled(X).square().mean().backward()
            optimizer.step()

    both(run)


def test_torch_compile_leaves_the_step_as_it_is() -> None:
    torch.compiler.reset()

    def run(net: torch.nn.Module, optimizer: Any) -> None:
        step = torch.compile(optimizer.step, backend="eager") if isinstance(optimizer, ours.AdamW) else optimizer.step
        for _ in range(4):
            optimizer.zero_grad()
            net(X).square().mean().backward()
            step()

    both(run)


def test_a_whole_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    """Model, optimizer and scheduler, in a file."""

    def parts() -> tuple[Any, Any, Any]:
        net = model()
        optimizer = ours.Optimizer(net.named_parameters(), uniopt.adamw(0.05, weight_decay=0.1))
        return net, optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)

    def run(net: Any, optimizer: Any, scheduler: Any) -> list[Any]:
        for _ in range(4):
            optimizer.zero_grad()
            net(X).square().mean().backward()
            optimizer.step()
            scheduler.step()
        return [p.detach().clone() for p in net.parameters()]

    begun = parts()
    run(*begun)
    torch.save([x.state_dict() for x in begun], tmp_path / "run.pt")
    loaded = parts()
    for x, saved in zip(loaded, torch.load(tmp_path / "run.pt", weights_only=True), strict=True):
        x.load_state_dict(saved)
    assert distance(run(*begun), run(*loaded)) == 0.0


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_distributed_training(processes: int, tmp_path: Path) -> None:
    script = Path(__file__).parent / "torch_distributed.py"
    run_together(script, processes, tmp_path, ends_with="training agrees")


def test_copies_of_models_have_optimizers_of_their_own() -> None:
    net = model()
    optimizer = ours.AdamW(net.parameters())
    net(X).sum().backward()
    optimizer.step()
    both_copied = copy.deepcopy((net, optimizer))
    before = [p.detach().clone() for p in net.parameters()]
    both_copied[0](X).sum().backward()
    both_copied[1].step()
    assert distance(before, net.parameters()) == 0.0
    assert distance(before, both_copied[0].parameters()) > 0.0
