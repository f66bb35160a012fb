"""Schedules: a Python int gives a Python float, an array an array of its library; the values are the formula's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import float64, require
from tests.properties.problems import moved, parameters, small_tree, walk

COUNTS = [0, 1, 2, 5, 9, 10, 11, 30, 59, 60, 61, 1000]


def constant(n: int) -> float:
    return 0.3


def linear(n: int) -> float:
    return 0.5 + (0.1 - 0.5) * min(max(n - 5, 0), 20) / 20


def cosine(n: int) -> float:
    return 0.5 * (0.8 * (0.5 * (1 + math.cos(math.pi * min(n, 60) / 60))) ** 2 + 0.2)


def warmup_cosine(n: int) -> float:
    if n < 10:
        return 0.1 + (1.0 - 0.1) * n / 10
    wave = 0.5 * (1 + math.cos(math.pi * min(n - 10, 50) / 50))
    return 0.05 + (1.0 - 0.05) * wave


def joined(n: int) -> float:
    return 0.3 if n < 5 else 1.0 - 0.1 * (n - 5) if n < 10 else 0.01


SCHEDULES: list[tuple[Any, Callable[[int], float]]] = [
    (uniopt.constant_schedule(0.3), constant),
    (uniopt.linear_schedule(0.5, 0.1, 20, transition_begin=5), linear),
    (uniopt.cosine_decay_schedule(0.5, 60, alpha=0.2, exponent=2.0), cosine),
    (uniopt.warmup_cosine_decay_schedule(0.1, 1.0, 10, 60, end_value=0.05), warmup_cosine),
    (
        uniopt.join_schedules(
            [uniopt.constant_schedule(0.3), uniopt.linear_schedule(1.0, 0.0, 10), uniopt.constant_schedule(0.01)],
            [5, 10],
        ),
        joined,
    ),
]
PAIRS = [pytest.param(*pair, id=pair[1].__name__) for pair in SCHEDULES]


@pytest.mark.parametrize(("schedule", "formula"), PAIRS)
def test_a_python_int_gives_a_python_float(schedule: Any, formula: Callable[[int], float]) -> None:
    for n in COUNTS:
        value = schedule(n)
        assert type(value) is float
        assert value == pytest.approx(formula(n), rel=1e-14, abs=1e-16)


@pytest.mark.parametrize(("schedule", "formula"), PAIRS)
def test_an_array_gives_an_array_of_its_library(
    backend: Backend, schedule: Any, formula: Callable[[int], float]
) -> None:
    with float64(backend.name):
        for n in COUNTS[:-1:2]:
            count = backend.asarray(n, dtype=backend.xp.int32)
            value = schedule(count)
            found = uniopt.backends.find(type(value))
            assert found is backend
            assert tuple(value.shape) == ()
            assert float(backend.to_numpy(value)) == pytest.approx(formula(n), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize(("schedule", "formula"), PAIRS)
def test_in_float32_to_its_precision(schedule: Any, formula: Callable[[int], float]) -> None:
    backend = require("jax")
    for n in COUNTS[:-1]:
        value = schedule(backend.asarray(n, dtype=backend.xp.int32))
        assert value.dtype == np.float32
        assert float(value) == pytest.approx(formula(n), abs=2e-7)


@pytest.mark.parametrize(("schedule", "formula"), PAIRS)
@pytest.mark.usefixtures("x64")
def test_like_optax(schedule: Any, formula: Callable[[int], float]) -> None:
    import optax

    theirs = {
        "constant": optax.constant_schedule(0.3),
        "linear": optax.linear_schedule(0.5, 0.1, 20, 5),
        "cosine": optax.cosine_decay_schedule(0.5, 60, 0.2, 2.0),
        "warmup_cosine": optax.warmup_cosine_decay_schedule(0.1, 1.0, 10, 60, 0.05),
        "joined": optax.join_schedules(
            [optax.constant_schedule(0.3), optax.linear_schedule(1.0, 0.0, 10), optax.constant_schedule(0.01)], [5, 10]
        ),
    }[formula.__name__]
    for n in COUNTS:
        assert schedule(n) == pytest.approx(float(theirs(n)), abs=2e-7)  # optax computes in float32


def test_traced_counts() -> None:
    import jax

    for schedule, formula in SCHEDULES:
        found = jax.jit(jax.vmap(schedule))(np.asarray(COUNTS[:-1], np.int32))
        np.testing.assert_allclose(found, [formula(n) for n in COUNTS[:-1]], atol=3e-7)


def test_every_rate_takes_number_array_and_schedule(backend: Backend) -> None:
    """The three ways of saying 0.25 give the same update."""
    params = moved(parameters(1, np.float32, tree=small_tree), backend)
    array = backend.from_numpy(np.asarray(0.25, np.float32))
    ways = (0.25, np.float64(0.25), np.asarray(0.25), array, uniopt.constant_schedule(0.25), lambda count: 0.25)
    makers = (uniopt.sgd, uniopt.adam, uniopt.rmsprop, lambda rate: uniopt.adamw(0.5, weight_decay=rate))
    for make in makers:
        results = set()
        for way in ways:
            tx = make(way)
            updates, _ = tx.update(params, tx.init(params), params)
            results.add(b"".join(backend.to_numpy(x).tobytes() for x in uniopt.tree.leaves(updates)))
        assert len(results) == 1


def test_a_schedule_counts_from_zero_and_steps_by_one(backend: Backend) -> None:
    seen: list[Any] = []

    def schedule(count: Any) -> float:
        seen.append(backend.to_numpy(count))
        return 0.5

    one = backend.from_numpy(np.ones(2, np.float32))
    for _ in walk(uniopt.sgd(schedule), {"a": one, "b": one}, [{"a": one, "b": one}] * 3, backend):
        pass
    assert seen == [0, 1, 2]  # once a step, for both leaves
    assert {x.dtype for x in seen} == {np.dtype("int32")}


def test_inverse_square_roots() -> None:
    t5 = uniopt.inverse_sqrt_schedule(10**-0.5, 10, 10)
    transformer = uniopt.warmup_inverse_sqrt_schedule(0.0, (512 * 40) ** -0.5, 40)
    slow = uniopt.warmup_inverse_sqrt_schedule(0.1, 0.5, 40, transition_steps=100)
    for n in range(200):
        assert t5(n) == pytest.approx(1 / math.sqrt(max(n, 10)), rel=1e-13)
        noam = 512**-0.5 * min(max(n, 1) ** -0.5, n * 40**-1.5)
        assert transformer(n) == pytest.approx(noam, rel=1e-13)
        assert slow(n) == pytest.approx(
            0.1 + 0.4 * n / 40 if n < 40 else 0.5 * math.sqrt(100 / (n - 40 + 100)), rel=1e-13
        )


@pytest.mark.parametrize(
    ("decay_type", "left"),
    [
        ("linear", lambda x: 1 - x),
        ("cosine", lambda x: math.cos(math.pi * x / 2) ** 2),
        ("1-sqrt", lambda x: 1 - math.sqrt(x)),
    ],
)
@pytest.mark.parametrize("warmup", [0, 20])
def test_warmup_stable_decay(decay_type: str, left: Callable[[float], float], warmup: int) -> None:
    schedule = uniopt.warmup_stable_decay_schedule(0.1, 0.5, warmup, 100, 40, 0.05, decay_type)
    for n in range(200):
        if n < warmup:
            expected = 0.1 + 0.4 * n / warmup
        else:
            done = min(max(n - warmup - 100, 0) / 40, 1.0)
            expected = 0.05 + 0.45 * left(done)
        assert schedule(n) == pytest.approx(expected, rel=1e-13)


def test_one_cycle_ends_low_where_two_parts_end_together() -> None:
    schedule = uniopt.linear_onecycle_schedule(10, 1.0, pct_final=1.0, div_factor=4.0, final_div_factor=8.0)
    assert [schedule(n) for n in (0, 3, 10)] == [0.25, 1.0, 1.0 / 32]
