"""Schedules step by step beside those of optax, torch, mlx and keras, in float64."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import mlx.core as mx
import mlx.optimizers
import pytest
import torch

import uniopt
from tests.shown import SHOWN

PAGE = Path(__file__).parents[2] / "docs" / "schedules.md"
LR = 0.1
STEPS = 150
CYCLES = [
    {"init_value": 0.01, "peak_value": 0.5, "warmup_steps": 10, "decay_steps": 30, "end_value": 0.02},
    {"init_value": 0.02, "peak_value": 0.3, "warmup_steps": 0, "decay_steps": 40, "exponent": 1.5},
]

OPTAX = {  # name: the calls, with optax's parameters
    "constant_schedule": [{"value": 0.3}],
    "linear_schedule": [
        {"init_value": 0.1, "end_value": 0.7, "transition_steps": 30},
        {"init_value": 0.1, "end_value": 0.7, "transition_steps": 30, "transition_begin": 5},
        {"init_value": 0.1, "end_value": 0.7, "transition_steps": 30, "transition_begin": -5},
        {"init_value": 0.1, "end_value": 0.3, "transition_steps": 0},
        {"init_value": 0.1, "end_value": 0.3, "transition_steps": 33.3},
    ],
    "polynomial_schedule": [
        {"init_value": 0.7, "end_value": 0.1, "power": 2, "transition_steps": 30},
        {"init_value": 0.7, "end_value": 0.1, "power": 0.5, "transition_steps": 30, "transition_begin": 5},
        {"init_value": 0.7, "end_value": 0.1, "power": 3.5, "transition_steps": -1},
    ],
    "exponential_decay": [
        {"init_value": 0.3, "transition_steps": 10, "decay_rate": 0.9},
        {"init_value": 0.3, "transition_steps": 7, "decay_rate": 0.9, "transition_begin": 5, "staircase": True},
        {"init_value": 0.3, "transition_steps": 7, "decay_rate": 0.9, "transition_begin": -5, "end_value": 0.1},
        {"init_value": 0.3, "transition_steps": 7, "decay_rate": 1.5, "staircase": True, "end_value": 2.0},
        {"init_value": 0.3, "transition_steps": 10, "decay_rate": 0.9, "end_value": 0.4},
        {"init_value": 0.3, "transition_steps": 10, "decay_rate": 0.0, "end_value": 0.4},
        {"init_value": 0.3, "transition_steps": 0, "decay_rate": 0.9},
    ],
    "cosine_decay_schedule": [
        {"init_value": 0.3, "decay_steps": 60},
        {"init_value": 0.3, "decay_steps": 60, "alpha": 0.2, "exponent": 2.0},
        {"init_value": 0.3, "decay_steps": 10**10, "alpha": 0.2, "exponent": 0.5},
    ],
    "piecewise_constant_schedule": [
        {"init_value": 0.3},
        {"init_value": 0.3, "boundaries_and_scales": {}},
        {"init_value": -0.3, "boundaries_and_scales": {20: 0.5, 10: 3.0, 99: 0.0}},
        {"init_value": 0.3, "boundaries_and_scales": {0: 0.5, 10: 3.0}},
    ],
    "piecewise_interpolate_schedule": [
        {"interpolate_type": "linear", "init_value": 0.3},
        {"interpolate_type": "cosine", "init_value": 0.3, "boundaries_and_scales": {}},
        {"interpolate_type": "linear", "init_value": 0.3, "boundaries_and_scales": {20: 0.5, 10: 3.0, 99: 0.0}},
        {"interpolate_type": "cosine", "init_value": 0.3, "boundaries_and_scales": {20: 0.5, 10: 3.0, 99: 2.0}},
        {"interpolate_type": "cosine", "init_value": 0.3, "boundaries_and_scales": {0: 0.5, 10: 3.0}},
        {"interpolate_type": "linear", "init_value": 0.3, "boundaries_and_scales": {0: 0.5}},
    ],
    "linear_onecycle_schedule": [
        {"transition_steps": 100, "peak_value": 0.5},
        {
            "transition_steps": 99, "peak_value": 0.5, "pct_start": 0.2, "pct_final": 0.7, "div_factor": 4.0,
            "final_div_factor": 8.0,
        },
        {"transition_steps": 3, "peak_value": 0.5},
    ],
    "cosine_onecycle_schedule": [
        {"transition_steps": 100, "peak_value": 0.5},
        {"transition_steps": 99, "peak_value": 0.5, "pct_start": 0.2, "div_factor": 4.0, "final_div_factor": 8.0},
        {"transition_steps": 3, "peak_value": 0.5},
    ],
    "warmup_constant_schedule": [{"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 20}],
    "warmup_cosine_decay_schedule": [
        {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 20, "decay_steps": 90},
        {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 20, "decay_steps": 90, "end_value": 0.2, "exponent": 2},
        {"init_value": 0.1, "peak_value": 0.0, "warmup_steps": 20, "decay_steps": 90, "end_value": 0.2},
        {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 0, "decay_steps": 90},
        {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 20.5, "decay_steps": 90.25},
    ],
    "warmup_exponential_decay_schedule": [
        {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 20, "transition_steps": 10, "decay_rate": 0.9},
        {
            "init_value": 0.1, "peak_value": 0.5, "warmup_steps": 20, "transition_steps": 7, "decay_rate": 0.5,
            "transition_begin": 5, "staircase": True, "end_value": 0.01,
        },
    ],
    "sgdr_schedule": [{"cosine_kwargs": CYCLES}, {"cosine_kwargs": CYCLES[:1]}],
}  # fmt: skip


def assert_same(ours: Callable[[Any], Any], theirs: Callable[[int], float]) -> None:
    for n in range(STEPS):
        assert ours(n) == pytest.approx(theirs(n), rel=1e-12, abs=1e-15), n


def test_all_of_optax_is_here() -> None:
    import optax

    found = {name for name, x in vars(optax.schedules).items() if inspect.isfunction(x) and "inject" not in name}
    assert found == {*OPTAX, "join_schedules"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [pytest.param(name, x, id=f"{name}-{i}") for name, calls in OPTAX.items() for i, x in enumerate(calls)],
)
@pytest.mark.usefixtures("x64")
def test_like_optax_in_float64(name: str, arguments: dict[str, Any]) -> None:
    import jax
    import jax.numpy as jnp
    import optax

    theirs = jax.vmap(getattr(optax, name)(**arguments))(jnp.arange(STEPS, dtype=jnp.float64))
    assert theirs.dtype in (jnp.float64, jnp.int64)
    assert_same(getattr(uniopt, name)(**arguments), lambda n: float(theirs[n]))


@pytest.mark.usefixtures("x64")
def test_joined_like_optax_in_float64() -> None:
    import jax.numpy as jnp
    import optax

    def joined(library: Any) -> Any:
        parts = [library.cosine_decay_schedule(0.5, 20), library.constant_schedule(0.25)]
        return library.join_schedules([*parts, library.exponential_decay(0.25, 10, 0.5)], [20, 50])

    theirs = joined(optax)
    assert_same(joined(uniopt), lambda n: float(theirs(jnp.asarray(n, jnp.float64))))


@pytest.mark.parametrize("name", OPTAX)
def test_parameters_and_defaults_are_those_of_optax(name: str) -> None:
    import optax

    ours, theirs = (inspect.signature(getattr(library, name)).parameters for library in (uniopt, optax))
    assert {key: p.default for key, p in ours.items()} == {key: p.default for key, p in theirs.items()}
    assert list(ours) == list(theirs)


def rows(heading: str) -> list[Any]:
    """Return the pairs of calls in the table of the page below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"### {heading}\n")[1].split("\n#")[0]
    pairs = re.findall(r"^\| `(.+)` \| `(.+)` \|$", section, re.MULTILINE)
    assert len(pairs) == section.count("\n|") - 2, "a row is no pair of calls"
    return [pytest.param(*pair, id=pair[0]) for pair in pairs]


def ours(call: str) -> Any:
    return eval(call, {**SHOWN, "lr": LR})


@pytest.mark.parametrize(("theirs", "native"), rows("torch"))
def test_like_torch(theirs: str, native: str) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR, momentum=0.9)
    names = {**vars(torch.optim.lr_scheduler), "optimizer": optimizer}
    schedule = ours(native)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR calls what it deprecates
        scheduler = eval(theirs, names)
        for n in range(100 if "OneCycle" in theirs else STEPS):
            found = optimizer.param_groups[0]["lr"]
            # The products of many steps drift.
            assert schedule(n) == pytest.approx(found, rel=1e-11, abs=1e-13), n
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize(("theirs", "native"), rows("mlx"))
def test_like_mlx(theirs: str, native: str) -> None:
    schedule, peer = ours(native), eval(theirs, vars(mlx.optimizers))
    for n in range(STEPS):
        found = peer(mx.array(float(n), mx.float64))
        assert found.dtype == mx.float64
        # MLX computes a cosine of float64 to float32's accuracy.
        assert schedule(n) == pytest.approx(found.item(), rel=1e-12, abs=1e-8 if "cosine" in theirs else 1e-15)


@contextmanager
def keras_in_float64() -> Iterator[None]:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


@pytest.mark.parametrize(("theirs", "native"), rows("keras"))
def test_like_keras(theirs: str, native: str) -> None:
    with keras_in_float64():
        peer = eval(theirs, vars(keras.optimizers.schedules))
        assert_same(ours(native), lambda n: float(peer(n)))


RESTARTS = [(1, 41), (2, 1), (2, 10), (3, 1), (3, 7), (5, 2), (7, 3), (10, 10)]


@pytest.mark.parametrize(("growth", "first"), RESTARTS)
@pytest.mark.parametrize("jitted", [False, True])
def test_restarts_are_where_integers_have_them(growth: int, first: int, jitted: bool) -> None:
    """The last step of a cycle and the first one of the next: to the end of int32, in float32 as far as that counts."""
    import jax
    import numpy as np

    schedule = uniopt.cosine_restarts_schedule(1.0, first, t_mul=growth)
    at = (lambda n: jax.jit(schedule)(np.int32(n))) if jitted else schedule
    begin, length = 0, first
    for _ in range(40):
        assert at(begin) == 1.0, begin
        begin, length, last = begin + length, length * growth, length
        if begin >= (2**24 if jitted else 2**31):
            break
        if last > 1:
            assert at(begin - 1) <= 0.5, begin


@pytest.mark.parametrize("jitted", [False, True])
def test_stairs_are_where_integers_have_them(jitted: bool) -> None:
    import jax
    import numpy as np

    for steps in (1, 7, 10, 41, 47, 49, 55, 100):
        schedule = uniopt.exponential_decay(1.0, steps, 0.5, staircase=True)
        found = (jax.jit(schedule) if jitted else schedule)(np.arange(40 * steps, dtype=np.int32))
        np.testing.assert_array_equal(found, 0.5 ** (np.arange(40 * steps) // steps))
