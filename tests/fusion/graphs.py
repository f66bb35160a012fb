"""torch's steps on the CPU as on devices that no kernels are made for, and walks to be compared with eager ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from uniopt.backends.fusion.step import FusedStep
from uniopt.backends.torch import TorchBackend
from uniopt.backends.torch.graph import GraphProgram
from uniopt.backends.torch.memory import DeviceMemory

import uniopt
from tests.fusion.walks import gradients, in_torch, normal, objective, odd_tree
from tests.properties.error_unit import ulps

CPU = torch.device("cpu")


class Compiler:
    """A backend of torch.compile that keeps what it was given."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)


def on_graphs(patch: pytest.MonkeyPatch, compile: Callable[..., Any]) -> None:
    """Let torch's steps on the CPU run as those on a device that no kernels are made for."""

    def compile_step(backend: Any, step: Any, *, donate: bool, parameters: Any) -> FusedStep:
        program = partial(GraphProgram, xp=backend.xp, device=CPU, compile=compile)
        return FusedStep(step, DeviceMemory(CPU), donate=donate, parameters=parameters, program=program)

    patch.setattr(TorchBackend, "compile_step", compile_step)


def host(tree: Any) -> list[Any]:
    """Return copies of the leaves in NumPy, 16-bit ones in float32, integers in float64."""
    leaves = [x.detach().clone() for x in uniopt.tree.leaves(tree)]
    leaves = [x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in leaves]
    return [(x if x.is_floating_point() or x.is_complex() else x.double()).numpy() for x in leaves]


def check(
    tx: uniopt.GradientTransformation,
    params: Any,
    stream: list[Any],
    bound: float = 4.0,
    change: Callable[[int, Any], Any] = lambda k, state: state,
) -> None:
    """Fail unless compiled steps go where eager ones go, and write into what they are given."""
    given, step = uniopt.tree.map(torch.clone, params), uniopt.compile(tx)
    expected_state, state = tx.init(params), tx.init(given)
    places = [x.data_ptr() for x in uniopt.tree.leaves(given)]
    found, expected = [host((given, state))], [host((params, expected_state))]
    for k, grads in enumerate(stream):
        expected_state, state = change(k, expected_state), change(k, state)
        updates, expected_state = tx.update(grads, expected_state, params, value=objective(k))
        params = uniopt.apply_updates(params, updates)
        after, state = step(grads, state, given, value=objective(k))
        for path, x in uniopt.tree.leaves_with_paths((after, state), ""):
            y = dict(uniopt.tree.leaves_with_paths((params, expected_state), ""))[path]
            assert (x.dtype, x.shape) == (y.dtype, y.shape), path
        for x, y in zip(uniopt.tree.leaves(after), uniopt.tree.leaves(given), strict=True):
            assert x is y
        found.append(host((after, state)))
        expected.append(host((params, expected_state)))
    assert [x.data_ptr() for x in uniopt.tree.leaves(given)] == places
    assert ulps(found, expected).value <= bound


def problem(seed: str, dtype: str = "float32", steps: int = 4) -> tuple[Any, list[Any]]:
    return in_torch(odd_tree(normal(seed, dtype))), [in_torch(g) for g in gradients(seed, dtype, steps)]


def without(stream: list[Any]) -> list[Any]:
    """Return gradients of which some are missing, others in each step."""
    for k, grads in enumerate(stream):
        if k % 2:
            grads["kernel"][0] = None
        if k >= 2:
            grads["scalar"] = None
    return stream


def with_nan(stream: list[Any]) -> list[Any]:
    stream[1]["matrix"][0, 0] = torch.nan
    return stream


def another_rate(k: int, state: Any) -> Any:
    return uniopt.tree_set(state, learning_rate=torch.tensor(0.1 / (1 + k))) if k else state


WRAPPED: dict[str, Callable[[], uniopt.GradientTransformation]] = {
    "clip_by_global_norm": lambda: uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adam(0.01)),
    "apply_if_finite": lambda: uniopt.apply_if_finite(uniopt.adam(0.01), 3),
    "MultiSteps": lambda: uniopt.MultiSteps(uniopt.adam(0.01), 2),
    "inject_hyperparams": lambda: uniopt.inject_hyperparams(uniopt.adamw)(learning_rate=0.1),
    "schedule": lambda: uniopt.sgd(uniopt.cosine_decay_schedule(0.1, 3), momentum=0.9, nesterov=True),
    "a tensor as learning rate": lambda: uniopt.adam(torch.tensor(0.01)),
}
CHANGES: dict[str, Any] = {"inject_hyperparams": another_rate}
STREAMS: dict[str, Any] = {"apply_if_finite": with_nan}
NAMES = ("adamw", "lion", "lamb", "adafactor", "muon", "sgd")
