"""The quick look at all tensors of a step: what it sees, and that a thorough one follows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from uniopt.backends.torch.memory import TorchMemory

import uniopt


@pytest.mark.parametrize(
    "other",
    [
        torch.ones(3, 2).T,
        torch.ones(3, 2),
        torch.ones(2, 3, dtype=torch.float64),
        torch.ones(2, 3, device="meta"),
        torch.ones(2, 3)._neg_view(),
        torch.ones(2, 3).to_sparse(),
        torch.nn.Parameter(torch.ones(2, 3)),
        None,
    ],
    ids=["strides", "shape", "dtype", "device", "negated", "sparse", "class", "none"],
)
def test_what_a_guard_sees(other: Any) -> None:
    first, second = torch.ones(2, 3), torch.ones(4)
    guard = TorchMemory().guard([first, second])
    assert guard is not None
    assert guard([torch.zeros(2, 3), torch.zeros(4)])
    assert not guard([other, second])


def test_a_guard_sees_conjugated_numbers() -> None:
    x = torch.ones(2, dtype=torch.complex64)
    guard = TorchMemory().guard([x])
    assert guard is not None
    assert guard([x.clone()])
    assert not guard([x.conj()])


def test_other_gradients_after_a_quick_step() -> None:
    """What is not as in the latest call is looked at thoroughly."""
    weight = torch.zeros(2, 2)
    tx = uniopt.sgd(1.0)
    state, step = tx.init([weight]), uniopt.compile(tx)
    grad = torch.asarray([[1.0, 2.0], [3.0, 4.0]])
    for g in (grad, grad, grad.T, grad, grad.double().float(), grad._neg_view(), grad):
        expected = weight - g
        step([g], state, [weight])
        assert torch.equal(weight, expected)
    weight.data = weight.data.T  # the same memory
    expected = weight - grad
    step([grad], state, [weight])
    assert torch.equal(weight, expected)
