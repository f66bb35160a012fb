"""Sums, maxima and minima: near to the exact ones, and the same for every number of threads."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from uniopt.backends.fusion import loops

import uniopt
from tests.fusion.walks import (
    WITH_SUMS,
    assert_same_bits,
    build,
    compiled,
    copied,
    eager,
    gradients,
    in_torch,
    normal,
    objective,
    odd_tree,
    units,
)

MAGNIFIED = {("muon", "float32"): 8.0}
"""Newton-Schulz magnifies the roundings of its first sum, and those of BLAS, which differ with the order in memory."""

SIZES = [1, 2, 7, 64, 8191, 8192, 8193, 16385, 100_001]
SHAPES = [(1, 1), (3, 5), (2, 8191), (8193, 2), (100, 83), (1, 20_000), (20_000, 1), (17, 31, 19), (4, 1, 5000)]
THREADED = [(300_001,), (8192 * 40,), (700, 501), (2, 200_000), (200_000, 2), (50, 60, 70)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "setting"), WITH_SUMS)
def test_each_step_is_near_to_the_eager_one(name: str, setting: str, dtype: str) -> None:
    tx, stream = build(name, setting), gradients((name, setting), dtype, 20)
    params = odd_tree(normal((name, setting), dtype))
    state, step = tx.init(params), uniopt.compile(tx)
    for k, grads in enumerate(stream):
        updates, expected_state = tx.update(grads, state, params, value=objective(k))
        expected = uniopt.apply_updates(params, updates)
        params, state = step(grads, state, params, value=objective(k))
        assert units(params, expected) <= MAGNIFIED.get((name, dtype), 2.0), f"step {k}"
        assert units(state, expected_state) <= 2 * MAGNIFIED.get((name, dtype), 2.0), f"step {k}"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(("name", "setting"), WITH_SUMS)
def test_numpy_and_torch_have_the_same_bits(name: str, setting: str, dtype: str) -> None:
    tx, stream = build(name, setting), gradients((name, setting), dtype, 5)
    params = odd_tree(normal((name, setting), dtype))
    on_torch = compiled(tx, in_torch(params), [in_torch(g) for g in stream], 5)
    for k, (ours, theirs) in enumerate(zip(compiled(tx, copied(params), stream, 5), on_torch, strict=True)):
        assert_same_bits(theirs, ours, f"step {k}")


# Against exact sums


def reduced(op: str, x: Any, axis: Any, library: str = "numpy") -> Any:
    """Return what a compiled rule makes of a reduction over some axes of a gradient, broadcast to its shape."""

    def rule(xp: Any, g: Any, s: Any) -> Any:
        return xp.zeros_like(g) + getattr(xp, op)(g, axis=axis, keepdims=True), s

    tx = uniopt.leafwise(uniopt.EmptyState, None, rule)
    grads, params = x, np.zeros_like(x)
    if library == "torch":
        grads, params = in_torch(grads), in_torch(params)
    return np.asarray(uniopt.compile(tx)(grads, tx.init(params), params)[0])


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
@pytest.mark.parametrize("op", ["any", "all"])
def test_truth(op: str, axis: Any, library: str) -> None:
    """Of numbers, of comparisons, and of no elements at all; a number that is not finite is true."""

    def rule(xp: Any, g: Any, s: Any) -> Any:
        numbers, compared = (getattr(xp, op)(x, axis=axis, keepdims=True) for x in (g, g > 1))
        zero = xp.zeros_like(g)
        return xp.where(numbers, xp.ones_like(g), zero) + xp.where(compared, 2 * xp.ones_like(g), zero), s

    tx = uniopt.leafwise(uniopt.EmptyState, None, rule)
    step = uniopt.compile(tx, donate=False)
    for x in ([[1.0, 0.0], [np.nan, 2.0]], [[1.5, 3.0], [np.inf, 2.0]], [[0.0, 0.0], [0.0, 0.0]], [[], []]):
        grads = np.asarray(x, np.float32)
        numbers, compared = (getattr(np, op)(v, axis=axis, keepdims=True) for v in (grads, grads > 1))
        given = [v if library == "numpy" else in_torch(v) for v in (grads, np.zeros_like(grads))]
        found, _ = step(given[0], tx.init(given[1]), given[1])
        np.testing.assert_array_equal(np.asarray(found), np.zeros_like(grads) + numbers + 2.0 * compared)


def exact(op: str, x: Any, axis: Any) -> Any:
    def over(values: Any) -> float:
        return math.fsum(values.tolist()) if op == "sum" else getattr(np, op)(values)

    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    moved = np.moveaxis(x, axes, range(-len(axes), 0))
    flat = moved.reshape(*moved.shape[: x.ndim - len(axes)], -1)
    return np.broadcast_to(
        np.expand_dims(np.apply_along_axis(over, -1, flat), tuple(a % x.ndim for a in axes)), x.shape
    )


def assert_near(op: str, x: Any, axis: Any, found: Any) -> None:
    wanted = exact(op, x.astype(np.float64), axis).astype(x.dtype)
    if op != "sum":
        assert np.array_equal(found, wanted)
        return
    scale = exact("sum", np.abs(x.astype(np.float64)), axis)
    # A float32 sum is accumulated in float64 and rounded once; a float64 sum is pairwise from blocks on.
    error = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    rounding = 1e-11 if x.dtype == np.float32 else 1e-14
    assert (error <= np.spacing(np.abs(wanted)) + rounding * scale).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["sum", "max", "min"])
@pytest.mark.parametrize("size", SIZES)
def test_whole_leaves(size: int, op: str, dtype: str) -> None:
    x = normal((size, op), dtype)(size)
    assert_near(op, x, None, reduced(op, x, None))


@pytest.mark.parametrize("op", ["sum", "max"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_axes(shape: tuple[int, ...], op: str) -> None:
    x = normal(shape, "float32")(*shape)
    axes: list[Any] = [None, 0, 1, -1, (0, 1)]
    for axis in [*axes, *([2, (0, 2), (1, 2)] if len(shape) == 3 else [])]:
        assert_near(op, x, axis, reduced(op, x, axis))
        assert np.array_equal(reduced(op, x, axis, "torch"), reduced(op, x, axis))


@pytest.mark.parametrize("op", ["sum", "max", "min"])
def test_views(op: str) -> None:
    x = normal("views", "float32")(40, 30, 20)
    for view in (x.transpose(2, 0, 1), x[::-1, ::2], x[:, 3:-4, ::-1], np.broadcast_to(x[:1], x.shape)):
        for axis in (None, 0, 1, (0, 2)):
            assert_near(op, view, axis, reduced(op, view, axis))


@pytest.mark.parametrize("op", ["max", "min"])
def test_nan_and_infinity_pass_through(op: str) -> None:
    for special in (np.nan, np.inf, -np.inf):
        for place in (0, 5000, 9999):
            x = normal(op, "float32")(10_000)
            x[place] = special
            assert np.array_equal(reduced(op, x, None)[0], getattr(np, op)(x), equal_nan=True)
            assert np.array_equal(reduced("sum", x, None)[0], np.sum(x), equal_nan=True)


# Threads


def digests(library: str = "numpy") -> dict[str, str]:
    """Return what steps with sums of all kinds lead to, as digests."""
    found = {}
    for shape in THREADED:
        for name, setting in (("lamb", "default"), ("sm3", "default"), ("adafactor", "factored")):
            make = normal((shape, name), "float32")
            tx, params, grads = build(name, setting), [make(*shape), make(3)], [make(*shape), make(3)]
            if library == "torch":
                params, grads = in_torch(params), in_torch(grads)
            state, step = tx.init(params), uniopt.compile(tx)
            for _ in range(2):
                params, state = step(grads, state, params, value=1000.0)
            content = b"".join(np.asarray(x).tobytes() for x in uniopt.tree.leaves((params, state)))
            found[f"{name} {shape}"] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture
def threads() -> Iterator[None]:
    """Put torch's number of threads back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_any_number_of_threads_gives_the_same_bits() -> None:
    expected = digests()
    assert in_a_process(1 if os.environ["OMP_NUM_THREADS"] == "2" else 2) == expected
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        assert digests("torch") == expected, f"torch on {number} threads"


def in_a_process(threads: int) -> dict[str, str]:
    """Return the digests of NumPy's steps in a process with that many threads."""
    root = str(Path(__file__).parents[2])
    script = "import json; from tests.fusion.test_reductions import digests; print(json.dumps(digests()))"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout)
    return found


@pytest.mark.usefixtures("threads")
def test_a_step_that_is_given_more_threads_later() -> None:
    tx, make = build("lamb"), normal("threads", "float32")
    params, grads = {"w": make(300_001)}, {"w": make(300_001)}
    ours, theirs = in_torch(params), in_torch(grads)
    state, step = tx.init(ours), uniopt.compile(tx)
    for k, expected in enumerate(compiled(tx, params, [grads], 4)):
        torch.set_num_threads(1 + k % 3)
        ours, state = step(theirs, state, ours)
        assert_same_bits((ours, state), expected, f"step {k}")


class Largest(NamedTuple):
    m: Any
    largest: Any


@pytest.mark.parametrize("compiler", [True, False], ids=["machine code", "NumPy"])
def test_a_maximum_of_what_the_same_pass_overwrites(compiler: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiler:
        monkeypatch.setattr(loops, "find_spec", lambda name: None)

    def rule(xp: Any, g: Any, s: Any) -> Any:
        return g, s._replace(m=0.5 * s.m - g, largest=xp.max(s.m))

    tx = uniopt.leafwise(Largest, lambda xp, p: {"m": 2.0 * p, "largest": xp.max(p)}, rule)
    params, stream = {"w": np.arange(6.0)}, [{"w": np.full(6, 3.0)}, {"w": np.full(6, -5.0)}]
    for k, pair in enumerate(zip(compiled(tx, copied(params), stream, 4), eager(tx, params, stream, 4), strict=True)):
        assert_same_bits(*pair, f"step {k}")
