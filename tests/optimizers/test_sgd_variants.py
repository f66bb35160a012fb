"""Momentum with dampening, as mlx and torch begin it: `sgd` against the real ones, over 50 steps."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.optimizers
import numpy as np
import pytest
import torch
from uniopt.conformance.reference import OPTIMIZERS
from uniopt.conformance.reference.leaf import Leaf

import uniopt
from uniopt import GradientTransformation

STEPS = 50
RATE = 0.125  # a power of 2, because mlx holds its rate in float32
SHAPES: dict[str, tuple[int, ...]] = {"matrix": (4, 3), "vector": (5,), "scalar": ()}

Walk = list[dict[str, Any]]


def problem() -> tuple[dict[str, Any], Walk]:
    """Return parameters and the gradients of each step."""
    rng = np.random.default_rng(11)

    def draw() -> dict[str, Any]:
        return {name: np.asarray(rng.standard_normal(shape)) for name, shape in SHAPES.items()}

    return draw(), [draw() for _ in range(STEPS)]


def walk(tx: GradientTransformation, start: dict[str, Any], stream: Walk) -> Walk:
    params, state, found = start, tx.init(start), []
    for gradient in stream:
        updates, state = tx.update(gradient, state, params)
        params = uniopt.apply_updates(params, updates)
        found.append(params)
    return found


def mlx_walk(start: dict[str, Any], stream: Walk, **options: Any) -> Walk:
    def put(values: dict[str, Any]) -> dict[str, Any]:
        return {name: mx.array(x, dtype=mx.float64) for name, x in values.items()}

    optimizer = mlx.optimizers.SGD(RATE, **options)
    params, found = put(start), []
    for gradient in stream:
        params = optimizer.apply_gradients(put(gradient), params)
        found.append({name: np.array(x) for name, x in params.items()})
    return found


def torch_walk(start: dict[str, Any], stream: Walk, **options: Any) -> Walk:
    params = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in start.items()}
    optimizer = torch.optim.SGD(params.values(), lr=RATE, **options)
    found = []
    for gradient in stream:
        for name, p in params.items():
            p.grad = None if gradient[name] is None else torch.tensor(gradient[name])
        optimizer.step()
        found.append({name: p.detach().numpy().copy() for name, p in params.items()})
    return found


def assert_close(found: Walk, expected: Walk, bound: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for name, x in theirs.items():
            assert np.max(np.abs(ours[name] - x)) <= bound * np.max(np.abs(x)), name


OPTIONS = [
    {"momentum": 0.75, "dampening": 0.5},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.75, "nesterov": True, "weight_decay": 0.1},
    {"momentum": 0.5},
]


def ours(undampened_first_step: bool, weight_decay: float = 0.0, **options: Any) -> GradientTransformation:
    sgd = uniopt.sgd(RATE, undampened_first_step=undampened_first_step, **options)
    return uniopt.chain(uniopt.add_decayed_weights(weight_decay), sgd)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_mlx_dampens_the_first_step_too(options: dict[str, Any]) -> None:
    start, stream = problem()
    assert_close(walk(ours(False, **options), start, stream), mlx_walk(start, stream, **options), 1e-14)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_torch_takes_the_first_gradient_whole(options: dict[str, Any]) -> None:
    start, stream = problem()
    assert_close(walk(ours(True, **options), start, stream), torch_walk(start, stream, **options), 1e-14)


def test_the_first_gradient_of_each_leaf_counts() -> None:
    """A leaf that is skipped at first begins with its own first gradient, in torch too."""
    start, stream = problem()
    late = [{**gradient, "vector": gradient["vector"] if n >= 3 else None} for n, gradient in enumerate(stream)]
    options = {"momentum": 0.75, "dampening": 0.5}
    assert_close(walk(ours(True, **options), start, late), torch_walk(start, late, **options), 1e-14)


def test_the_two_conventions_part() -> None:
    start, stream = problem()
    options = {"momentum": 0.75, "dampening": 0.5}
    whole, dampened = (walk(ours(first, **options), start, stream) for first in (True, False))
    assert max(np.max(np.abs(a["vector"] - b["vector"])) for a, b in zip(whole, dampened, strict=True)) > 0.1


@pytest.mark.parametrize("nesterov", [False, True], ids=["plain", "nesterov"])
def test_the_reference(nesterov: bool) -> None:
    start, stream = problem()

    def plain(values: dict[str, Any]) -> list[Leaf]:
        return [Leaf.of(x) for x in values.values()]

    options: dict[str, Any] = {"momentum": 0.75, "dampening": 0.5, "nesterov": nesterov}
    steps = OPTIMIZERS["sgd"](plain(start), map(plain, stream), learning_rate=RATE, **options)
    expected = [
        {name: np.reshape(leaf.values, leaf.shape) for name, leaf in zip(start, leaves, strict=True)}
        for leaves in steps
    ]
    assert_close(walk(ours(False, **options), start, stream), expected, 1e-14)
