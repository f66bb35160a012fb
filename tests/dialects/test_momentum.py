"""A momentum of 1, which forgets nothing, and one above it, as torch, mlx and keras take them."""

from __future__ import annotations

from functools import partial
from typing import Any

import mlx.core
import mlx.optimizers
import numpy as np
import pytest
import torch
from uniopt.conformance.peers import keras as keras_peer
from uniopt.conformance.peers import mlx as mlx_peer
from uniopt.conformance.peers import torch as torch_peer
from uniopt.conformance.problems import Problem

import uniopt
from tests.conftest import require
from tests.dialects.problems import gradients_of, start_of
from tests.properties.error_unit import relative, ulps
from tests.properties.problems import trajectory
from uniopt import dialects, porting
from uniopt.errors import HyperparameterError, PortingError

STEPS = 10
RATE = 2.0**-6
CASES = [
    ("torch", "SGD", {"momentum": 1.0}),
    ("torch", "SGD", {"momentum": 1.1, "dampening": 0.5}),
    ("torch", "SGD", {"momentum": 1.1, "nesterov": True}),
    ("torch", "RMSprop", {"momentum": 1.0, "centered": True}),
    ("torch", "RMSprop", {"momentum": 1.1}),
    ("mlx", "SGD", {"momentum": 1.0, "dampening": 0.5}),
    ("mlx", "SGD", {"momentum": 1.1}),
    ("mlx", "SGD", {"momentum": 1.1, "nesterov": True}),
    ("keras", "SGD", {"momentum": 1.0}),
    ("keras", "SGD", {"momentum": 1.0, "nesterov": True}),
    ("keras", "RMSprop", {"momentum": 1.0}),
    ("keras", "RMSprop", {"momentum": 1.1}),
]


def of_peer(library: str, name: str, hyper: dict[str, Any], problem: Problem) -> list[list[Any]]:
    """Return the leaves at the start and after each step of the framework's own optimizer."""
    if library == "torch":
        return torch_peer.follow(partial(getattr(torch.optim, name), **hyper), RATE, problem)
    peer = mlx_peer if library == "mlx" else keras_peer
    return peer.follow(name, {**hyper, "learning_rate": RATE}, problem)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("library", "name", "hyper"), CASES)
def test_as_the_framework(library: str, name: str, hyper: dict[str, Any], dtype: str) -> None:
    start, stream = start_of(dtype, 1.0), gradients_of(dtype, STEPS)
    tx = getattr(getattr(dialects, library), name)(RATE, **hyper)
    found = trajectory(tx, start, stream, require("numpy"))
    expected = of_peer(library, name, hyper, Problem(name, start, tuple(stream)))
    if dtype == "float64":
        assert relative(found, expected).value <= 1e-12
    else:
        assert ulps(found, expected).value <= 8.0


@pytest.mark.parametrize(
    ("library", "name", "momentum"),
    [
        *(("torch", "SGD", -0.5), ("torch", "RMSprop", -0.5), ("torch", "Muon", 1.0)),
        *(("mlx", "SGD", -0.5), ("mlx", "Muon", 1.0)),
        *(("keras", "SGD", 1.1), ("keras", "RMSprop", -0.5), ("keras", "Muon", 1.0)),
    ],
)
def test_what_is_refused(library: str, name: str, momentum: float) -> None:
    with pytest.raises(HyperparameterError, match=f"momentum is {momentum}"):
        getattr(getattr(dialects, library), name)(0.5, momentum=momentum)


@pytest.mark.parametrize("momentum", [1.0, 1.1])
@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_carried_over_from_torch(name: str, momentum: float) -> None:
    """Five steps of torch and five of uniopt are ten of torch."""
    rng = np.random.default_rng(3)
    start, stream = rng.standard_normal(4), rng.standard_normal((STEPS, 4))
    ours, alone = (torch.nn.Parameter(torch.tensor(start)) for _ in range(2))
    optimizers = {p: getattr(torch.optim, name)([p], lr=RATE, momentum=momentum) for p in (ours, alone)}
    for p, steps in ((ours, stream[:5]), (alone, stream)):
        for gradient in steps:
            p.grad = torch.tensor(gradient)
            optimizers[p].step()
    tx, state = porting.from_torch(optimizers[ours], {"w": ours}, "numpy")
    params = {"w": ours.detach().numpy().copy()}
    for gradient in stream[5:]:
        updates, state = tx.update({"w": gradient}, state, params)
        params = uniopt.apply_updates(params, updates)
    np.testing.assert_allclose(params["w"], alone.detach().numpy(), rtol=1e-13)


def test_no_average_is_a_sum_that_forgets_nothing() -> None:
    tx = uniopt.chain(uniopt.trace(1.0), uniopt.scale_by_learning_rate(0.5))
    bias = {"b": mlx.core.ones(3)}
    with pytest.raises(PortingError, match="a sum that forgets nothing"):
        porting.to_mlx(tx, tx.init({"b": np.ones(3, np.float32)}), mlx.optimizers.Muon(0.5), bias)
