"""What a compiled step allocates beside parameters, gradients and state: next to nothing."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.fusion.walks import build, in_torch

WHOLE_ARRAYS = {("ftrl", "power"), ("muon", None)}
"""Powers and matrix products are calls of the library, whose results are arrays."""


def cases() -> list[Any]:
    found = []
    for name, settings in SETTINGS.items():
        for setting, hyper in settings.items():
            masked = any("mask" in key for key in hyper)  # their masks are for other trees
            if not masked and not {(name, setting), (name, None)} & WHOLE_ARRAYS:
                marks = () if setting == next(iter(settings)) else pytest.mark.wide
                found.append(pytest.param(name, setting, marks=marks))
    return found


def peak(tx: uniopt.GradientTransformation, params: Any, grads: Any, steps: int = 1) -> tuple[int, int]:
    """Return the most bytes that a step holds beside its arguments, and the bytes of its arguments."""
    state, step = tx.init(params), uniopt.compile(tx)
    params, state = step(grads, state, params, value=1e8)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(steps):
            params, state = step(grads, state, params, value=1e8)
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return most, sum(x.nbytes for x in uniopt.tree.leaves((params, grads, state)))


def leaves(dtype: str = "float32") -> tuple[Any, Any]:
    shapes = {"matrix": (1000, 2000), "transposed": (500, 2000), "vector": (2_000_000,)}
    params = {name: np.full(shape, 0.5, dtype) for name, shape in shapes.items()}
    return params, {name: np.full(shape, 0.25, dtype) for name, shape in shapes.items()} | {
        "transposed": np.full((2000, 500), 0.25, dtype).T
    }


@pytest.mark.parametrize(("name", "setting"), cases())
def test_numpy(name: str, setting: str) -> None:
    most, whole = peak(build(name, setting), *leaves())
    assert most <= 0.01 * whole


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("name", ["adafactor", "adamw", "lamb"])
def test_other_dtypes(name: str, dtype: str) -> None:
    most, whole = peak(build(name), *leaves(dtype))
    assert most <= 0.01 * whole


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_torch(name: str) -> None:
    """Without a program, torch's own allocator would hold the temporaries; with one there are only NumPy's to count."""
    most, whole = peak(build(name), *map(in_torch, leaves()))
    assert most <= 0.01 * whole


def test_noise() -> None:
    most, whole = peak(uniopt.add_noise(0.25, 0.5, 3), *leaves())
    assert most <= 0.01 * whole


def test_private_noise() -> None:
    """The sum over the examples, here over one, is an array; the noise is none."""
    params, grads = leaves()
    most, _ = peak(uniopt.dpsgd(0.1, 2.0, 0.25, 7), params, uniopt.tree.map(lambda g: g[None], grads))
    assert most <= 1.01 * sum(x.nbytes for x in params.values())


RULES: dict[str, Any] = {
    "exp and tanh": lambda xp, g, s: (xp.exp(g) * xp.tanh(g), s),
    "functions of two arrays": lambda xp, g, s: (xp.hypot(g, xp.log1p(g)) + g % 0.375 + xp.atan2(g, 2.0), s),
    "positions": lambda xp, g, s: (g * xp.astype(xp.reshape(xp.arange(math.prod(g.shape)), g.shape) % 5, g.dtype), s),
    "a mean of functions": lambda xp, g, s: (g - xp.mean(xp.cos(g)), s),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_of_a_users_own(name: str) -> None:
    most, whole = peak(uniopt.leafwise(uniopt.EmptyState, None, RULES[name]), *leaves())
    assert most <= 0.01 * whole


def test_missing_gradients() -> None:
    params, grads = leaves()
    most, whole = peak(build("adamw"), params, {**grads, "vector": None})
    assert most <= 0.01 * whole


def test_many_steps_hold_no_more_than_one() -> None:
    """What waits for the garbage collector is some tens of kB; a leaked object a step would be 150 and more."""
    most, _ = peak(build("adamw"), [np.ones(1000, np.float32)], [np.ones(1000, np.float32)], steps=3000)
    assert most <= 100_000
