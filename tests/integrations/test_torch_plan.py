"""Steps of an optimizer that has bound its arrays already: whatever changes between two of them is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from uniopt.backends.fusion import step as fused
from uniopt.backends.fusion.recording import recording

import uniopt
import uniopt.integrations.torch as ours

COUNT = 12  # "10" and "11" come before "2"


def _negated(p: torch.Tensor) -> torch.Tensor:
    return torch.complex(p, -p).conj().imag


def _moved(p: torch.nn.Parameter) -> None:
    p.data = p.data.clone()


def _transposed(p: torch.nn.Parameter) -> None:
    p.data = p.data.T.contiguous().T


def _without(p: torch.nn.Parameter) -> None:
    p.grad = None


def _with_other(p: torch.nn.Parameter) -> None:
    p.grad = torch.full_like(p, 2.0)


def _with_transposed(p: torch.nn.Parameter) -> None:
    p.grad = torch.arange(12.0).reshape(4, 3).T


def _with_negated(p: torch.nn.Parameter) -> None:
    p.grad = _negated(torch.full_like(p, 3.0))


def _with_moved(p: torch.nn.Parameter) -> None:
    assert p.grad is not None
    p.grad.data = torch.full_like(p, 4.0)


CHANGES: list[Callable[[torch.nn.Parameter], None]] = [
    _moved, _transposed, _without, _with_other, _with_transposed, _with_negated, _with_moved,
]  # fmt: skip


def _made(cls: Any, **settings: Any) -> tuple[list[torch.nn.Parameter], Any]:
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(3, 4)) for _ in range(COUNT)]
    for i, p in enumerate(params):
        p.grad = torch.full_like(p, i + 1.0)
    return params, cls(params, lr=0.1, **settings)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_steps(name: str, change: Callable[[torch.nn.Parameter], None]) -> None:
    found, optimizer = _made(getattr(ours, name))
    wanted, peer = _made(getattr(torch.optim, name))
    for k in range(8):
        for params, opt in ((found, optimizer), (wanted, peer)):
            if k in (3, 5):
                change(params[2])
                opt.param_groups[0]["lr"] /= 2
            opt.step()
        for p, q in zip(found, wanted, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adagrad"])
def test_no_pattern_of_missing_gradients_is_recorded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings: list[int] = []

    def counted(*args: Any) -> Any:
        recordings.append(1)
        return recording(*args)

    monkeypatch.setattr(fused, "recording", counted)
    params = [torch.nn.Parameter(torch.zeros(3, 2)) for _ in range(6)]
    expected = [torch.nn.Parameter(torch.zeros(3, 2)) for _ in range(6)]
    optimizer, peer = getattr(ours, name)(params, lr=0.125), getattr(torch.optim, name)(expected, lr=0.125)
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(24):
        missing = torch.rand(6, generator=generator) < 0.4
        for p, q, here in zip(params, expected, ~missing, strict=True):
            p.grad = torch.randn(3, 2, generator=generator) if here else None
            q.grad = p.grad
        optimizer.step()
        peer.step()
        found.append(len(recordings))
        torch.testing.assert_close(params, expected, rtol=1e-6, atol=1e-7)
    assert found[-1] == found[8] > 0  # each parameter has had a gradient by then, and the plan is the last one


def test_a_slot_that_is_replaced() -> None:
    params, optimizer = _made(ours.SGD, momentum=0.9)
    for _ in range(3):
        optimizer.step()
    buffer = torch.zeros(3, 4)
    optimizer.state[params[2]]["momentum_buffer"] = buffer
    before = params[2].detach().clone()
    optimizer.step()
    torch.testing.assert_close(params[2].detach(), before - 0.1 * 3.0)
    assert optimizer.state[params[2]]["momentum_buffer"] is buffer
    torch.testing.assert_close(buffer, torch.full((3, 4), 3.0))


def test_slots_that_come_to_share_memory() -> None:
    """They cannot be updated in place, because each is to have values of its own."""
    found, optimizer = _made(ours.SGD, momentum=0.9)
    wanted, peer = _made(torch.optim.SGD, momentum=0.9)
    for k in range(8):
        if k == 3:
            mine, other = (optimizer.state[p]["momentum_buffer"] for p in found[:2])
            mine.data = other.data
            peer.state[wanted[0]]["momentum_buffer"].copy_(other)
        if k == 5:
            _moved(found[3])
        optimizer.step()
        peer.step()
    for p, q in zip(found, wanted, strict=True):
        torch.testing.assert_close(p, q)


def _scaled(updates: Any, state: Any, params: Any = None, *, value: Any = None, **extra: Any) -> Any:
    factor = -0.1 if value is None else value
    return {key: g * factor for key, g in updates.items()}, state


def test_a_loss_now_and_then() -> None:
    """A step with an extra argument is another one, and those without it go on as before."""
    params, _ = _made(ours.SGD)
    optimizer = ours.Optimizer(params, uniopt.GradientTransformation(lambda params: (), _scaled))
    before = [p.detach().clone() for p in params]
    for k in range(6):
        optimizer.step(*([lambda: torch.tensor(0.5)] if k % 2 else []))
    for i, (p, old) in enumerate(zip(params, before, strict=True)):
        torch.testing.assert_close(p.detach(), old + (3 * 0.5 - 3 * 0.1) * (i + 1))


HOOKS: list[Callable[[Any, Any], Any]] = [
    lambda optimizer, hook: optimizer.register_step_pre_hook(hook),
    lambda optimizer, hook: optimizer.register_step_post_hook(hook),
    lambda optimizer, hook: register_optimizer_step_pre_hook(hook),
    lambda optimizer, hook: register_optimizer_step_post_hook(hook),
]


@pytest.mark.parametrize("register", HOOKS)
def test_a_hook_alone(register: Callable[[Any, Any], Any]) -> None:
    _, optimizer = _made(ours.SGD)
    seen: list[Any] = []
    optimizer.step()
    handle = register(optimizer, lambda opt, args, kwargs: seen.append(opt))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert seen == [optimizer]


def test_profilers_see_steps() -> None:
    _, optimizer = _made(ours.AdamW)
    optimizer.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    assert [event.name for event in profile.events() if "Optimizer.step" in event.name] == ["Optimizer.step#AdamW.step"]
