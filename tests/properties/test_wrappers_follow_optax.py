"""In float64 wrapped optimizers follow optax's on every library, in their parameters and in their states."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import EVERYWHERE, require
from tests.properties.error_unit import relative
from tests.properties.wrapped import WRAPPED, Wrapped, optax_walk, problem, trajectory, walk

STEPS = 24
TOLERANCE = 1e-12

SCALES = [pytest.param(1.0, id="random"), pytest.param(0.0, id="zero")]


def of(name: str) -> Wrapped:
    return next(w for w in WRAPPED if w.name == name)


@cache
def optax_steps(name: str, scale: float) -> list[tuple[Any, Any]]:
    start, stream = problem(name, scale, STEPS)
    return list(optax_walk(of(name), start, stream))


def check(wrapped: Wrapped, library: str, scale: float) -> None:
    start, stream = problem(wrapped.name, scale, STEPS)
    expected = [uniopt.tree.leaves(params) for _, params in optax_steps(wrapped.name, scale)]
    found = trajectory(wrapped, start, stream, require(library))
    assert {leaf.dtype for leaves in found for leaf in leaves} == {np.dtype("float64")}
    worst = relative(found, [uniopt.tree.leaves(wrapped.start(start)), *expected])
    assert worst.value <= TOLERANCE, worst


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_numpy_follows_optax(wrapped: Wrapped, scale: float) -> None:
    check(wrapped, "numpy", scale)


@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_states_are_optaxs(wrapped: Wrapped) -> None:
    """The same slots in the same order, with the same numbers."""
    start, stream = problem(wrapped.name, 1.0, STEPS)
    steps = walk(wrapped, wrapped.start(start), stream, require("numpy"))
    for (_, state, _), (theirs, _) in zip(steps, optax_steps(wrapped.name, 1.0), strict=True):
        found = uniopt.tree.leaves_with_paths(state, "state")
        for (path, x), y in zip(found, uniopt.tree.leaves(theirs), strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype), path
            np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11 * np.max(np.abs(y), initial=0.0), err_msg=path)


LIBRARIES = [name for name in EVERYWHERE if name != "numpy"]
QUICK = ("flatten adam", "selective", "lookahead reset", "sam with states", "opaque sam", "schedule_free", "mechanize")


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name != "dask"])
@pytest.mark.parametrize("wrapped", [w for w in WRAPPED if w.name in QUICK], ids=str)
def test_library_follows_optax(wrapped: Wrapped, name: str) -> None:
    check(wrapped, name, 1.0)


@pytest.mark.wide
@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_every_library_follows_optax(wrapped: Wrapped, name: str) -> None:
    check(wrapped, name, 1.0)
