"""In float64 the parameters follow optax's on every library, to 1e-12 of the leaf's maximum in 50 steps."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import EVERYWHERE, float64, require
from tests.properties.error_unit import relative
from tests.properties.problems import ONE_EACH, PLAIN, Case, gradients, parameters, rules_first, seed_of, trajectory

STEPS = 50
TOLERANCE = 1e-12


def decaying(count: Any) -> Any:
    """Fall as 1/n, in arithmetic that rounds the same everywhere."""
    backend = uniopt.backends.backend_of(count)
    wide = backend.astype(count, backend.dtype("float64"))
    return 0.1 / (1.0 + wide)


def decaying_table(count: Any) -> Any:
    """The values of `decaying` from a table: optax would compute a schedule in float32, even under x64."""
    import jax.numpy as jnp

    return jnp.asarray(0.1 / (1.0 + np.arange(STEPS)), dtype=jnp.float64)[count]


def mask_without_vectors(params: Any) -> Any:
    return {
        "dense": {"w": True, "b": False},
        "conv": [True, (False, True)],
        "temperature": False,
        "nothing": True,
        "one": (False,),
    }


SPECIAL = [
    Case("sgd", {"learning_rate": decaying, "momentum": 0.9}, {"learning_rate": decaying_table}),
    Case("adam", {"learning_rate": decaying}, {"learning_rate": decaying_table}),
    Case("adamw", {"learning_rate": 1e-2, "weight_decay": 0.1, "mask": mask_without_vectors}),
]


@cache
def optax_step(case: str) -> tuple[Any, Any]:
    """Return optax's transformation and one step of it, compiled."""
    import jax
    import optax

    tx = next(c for c in PLAIN + SPECIAL if str(c) == case).build_optax()

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return tx, jax.jit(step)


@cache
def optax_trajectory(case: str, scale: float) -> list[list[Any]]:
    """Return the parameters' leaves at the start and after each of optax's steps."""
    import jax

    start, stream = problem(case, scale)
    with float64("jax"):
        tx, step = optax_step(case)
        params = jax.tree.map(jax.numpy.asarray, start)
        state = tx.init(params)
        steps = [uniopt.tree.leaves(start)]
        for grads in stream:
            params, state = step(params, state, grads)
            steps.append([np.asarray(leaf) for leaf in uniopt.tree.leaves(params)])
    return steps


@cache
def problem(case: str, scale: float) -> tuple[Any, list[Any]]:
    seed = seed_of(case, scale)
    return parameters(seed, scale=scale), gradients(seed + 1, STEPS)


def check(case: Case, backend: Backend, scale: float) -> None:
    start, stream = problem(str(case), scale)
    expected = optax_trajectory(str(case), scale)
    with float64(backend.name):
        found = trajectory(case.build(), start, stream, backend)
    assert len(found) == STEPS + 1
    assert {leaf.dtype for leaves in found for leaf in leaves} == {np.dtype("float64")}
    worst = relative(found, expected)
    assert worst.value <= TOLERANCE, worst


SCALES = [pytest.param(1.0, id="random"), pytest.param(0.0, id="zero")]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", PLAIN + SPECIAL, ids=str)
def test_numpy_follows_optax(case: Case, scale: float) -> None:
    check(case, require("numpy"), scale)


@pytest.mark.parametrize("name", ["torch", "jax", "mlx", "array_api_strict"])
@pytest.mark.parametrize("case", [*rules_first(ONE_EACH), *SPECIAL], ids=str)
def test_library_follows_optax(case: Case, name: str) -> None:
    check(case, require(name), 1.0)


@pytest.mark.wide
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [name for name in EVERYWHERE if name != "numpy"])
@pytest.mark.parametrize("case", PLAIN + SPECIAL, ids=str)
def test_library_follows_optax_from_everywhere(case: Case, name: str, scale: float) -> None:
    check(case, require(name), scale)


def test_every_optimizer_has_a_case() -> None:
    """Here, or in the settings with which tests/optimizers compares all of them with optax."""
    from uniopt.conformance.settings import SETTINGS

    from uniopt import optimizers

    public = {name for name, x in vars(optimizers).items() if inspect.isfunction(x) and not name.startswith("_")}
    missing = sorted(public - {case.optimizer for case in PLAIN} - SETTINGS.keys())
    assert not missing, f"Add settings in conformance/settings.py for: {', '.join(missing)}"
