"""In float32 all libraries walk NumPy's path: array-api-strict bit for bit, the others within 4 ulp."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.conftest import require
from tests.properties.error_unit import History, ulps
from tests.properties.problems import ONE_EACH, PLAIN, Case, seed_of, trajectory

STEPS = 50
NOISY = Case("noisy_sgd", {"learning_rate": 0.1, "eta": 0.01})
CASES = [*(case for case in PLAIN if case.optimizer != "noisy_sgd"), NOISY]


@cache
def problem(case: str) -> tuple[Any, list[Any]]:
    """Return float32 parameters in random shapes, 0-d and large ones among them, and gradients for them."""
    rng = np.random.default_rng(seed_of(case))
    shapes = [
        (),
        (1,),
        tuple(rng.integers(1, 12, 3)),
        (int(rng.integers(1000, 3000)),),
        (40, int(rng.integers(30, 60))),
    ]

    def draw(scale: float) -> list[Any]:
        return [
            np.asarray(rng.standard_normal(s) * scale * 10.0 ** rng.uniform(-2, 1, s), dtype=np.float32) for s in shapes
        ]

    return draw(1.0), [draw(0.5) for _ in range(STEPS)]


@cache
def by_numpy(case: str) -> History:
    found = next(c for c in CASES if str(c) == case)
    return trajectory(found.build(), *problem(case), require("numpy"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_strict_is_numpy_bit_for_bit(case: Case) -> None:
    found = trajectory(case.build(), *problem(str(case)), require("array_api_strict"))
    for step, (mine, theirs) in enumerate(zip(found, by_numpy(str(case)), strict=True)):
        for x, y in zip(mine, theirs, strict=True):
            assert x.dtype == y.dtype == np.float32
            assert x.tobytes() == y.tobytes(), f"step {step}"


@pytest.mark.parametrize("name", ["torch", "mlx"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_eager_torch_and_mlx_stay_within_4_ulp(case: Case, name: str) -> None:
    worst = ulps(trajectory(case.build(), *problem(str(case)), require(name)), by_numpy(str(case)))
    assert worst.value <= 4, worst


@pytest.mark.parametrize(
    "case", [c for c in ONE_EACH if c.optimizer in ("sgd", "adamw", "amsgrad", "rmsprop")], ids=str
)
def test_eager_jax_stays_within_4_ulp(case: Case) -> None:
    worst = ulps(trajectory(case.build(), *problem(str(case)), require("jax")), by_numpy(str(case)))
    assert worst.value <= 4, worst


# XLA divides an array by a scalar by way of the reciprocal: one ulp off on a quarter of the elements in float32. Only
# the centered rule with bias correction notices: v - m**2 multiplies that by the digits that cancel.
OFF_ON_JAX = PLAIN[-1]


@pytest.mark.wide
@pytest.mark.parametrize("case", [case for case in CASES if case is not OFF_ON_JAX], ids=str)
def test_jax_stays_within_4_ulp(case: Case) -> None:
    worst = ulps(trajectory(case.build(), *problem(str(case)), require("jax")), by_numpy(str(case)))
    assert worst.value <= 4, worst


@pytest.mark.wide
@pytest.mark.parametrize("case", CASES, ids=str)
def test_dask_stays_within_4_ulp(case: Case) -> None:
    worst = ulps(trajectory(case.build(), *problem(str(case)), require("dask")), by_numpy(str(case)))
    assert worst.value <= 4, worst


def test_what_only_adds_and_multiplies_is_bitwise_in_torch() -> None:
    for case in PLAIN[:3]:  # sgd
        found = trajectory(case.build(), *problem(str(case)), require("torch"))
        assert ulps(found, by_numpy(str(case))).value == 0
