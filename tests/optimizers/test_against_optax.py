"""Every optimizer against the real optax in float64, over 50 steps, with every setting of the conformance suite."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
import pytest
from uniopt.conformance.settings import FALLING, SETTINGS, Written

import uniopt

STEPS = 50

# optax computes adafactor's decay rate in float32 even for float64: 1.9e-6 after 50 steps was the most seen.
BOUNDS = {"adafactor": 2e-6}


def cases() -> Iterator[tuple[str, str]]:
    """Yield each optimizer and setting that optax has with the same formula."""
    for name, settings in SETTINGS.items():
        if name in ("noisy_sgd", "rprop"):  # another generator; one step late (the dialect is tested below)
            continue
        if not hasattr(optax, name) and not hasattr(optax.contrib, name):
            continue
        for setting, hyper in settings.items():
            inverted = name == "polyak_sgd" and "scaling" in hyper
            scheduled_sm3 = name == "sm3" and hyper["learning_rate"] is FALLING["learning_rate"]  # optax's takes none
            if (
                not inverted
                and not scheduled_sm3
                and "mask" not in hyper
                and not any(key.endswith("_mask") for key in hyper)
            ):
                yield name, setting


def value_of(x: Any) -> Any:
    """Return a hyperparameter as optax takes it; a schedule by float64 values, for optax's own are float32."""
    if x is FALLING["learning_rate"]:
        table = np.asarray([x.plain(n) for n in range(STEPS)])
        return lambda count: jax.numpy.asarray(table)[count]
    return x.plain if isinstance(x, Written) else x


def trajectories(ours: Any, theirs: Any, *, scale: float, scalar_leaf: bool) -> float:
    """Return the largest difference between two transformations, relative to the leaf's largest value."""
    rng = np.random.default_rng(7)
    shapes: dict[str, Any] = {"w": (3, 5), "deep": {"b": (5,), "k": (2, 3, 4)}}
    if scalar_leaf:
        shapes["s"] = ()

    def tree(draw: Any) -> Any:
        return jax.tree.map(lambda shape: np.asarray(draw(shape)), shapes, is_leaf=lambda x: isinstance(x, tuple))

    params = tree(lambda shape: scale * rng.standard_normal(shape))
    p, s = params, ours.init(params)
    q = jax.tree.map(jax.numpy.asarray, params)
    r = theirs.init(q)
    worst = 0.0
    theirs_update = jax.jit(optax.with_extra_args_support(theirs).update)
    for n in range(STEPS):
        grads = tree(lambda shape: rng.standard_normal(shape) * 10.0 ** rng.uniform(-2, 1))
        value = 1.5 + 0.01 * n
        u, s = ours.update(grads, s, p, value=value)
        p = uniopt.apply_updates(p, u)
        v, r = theirs_update(jax.tree.map(jax.numpy.asarray, grads), r, q, value=value)
        q = optax.apply_updates(q, v)
        for mine, other in zip(uniopt.tree.leaves(p), jax.tree.leaves(q), strict=True):
            largest = max(float(np.max(np.abs(other))), 1e-300)
            worst = max(worst, float(np.max(np.abs(mine - np.asarray(other)))) / largest)
    return worst


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["random", "zero"])
@pytest.mark.parametrize(("name", "setting"), list(cases()))
def test_the_same_path_as_optax(name: str, setting: str, scale: float) -> None:
    hyper = SETTINGS[name][setting]
    ours = getattr(uniopt, name)(**{key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()})
    with jax.enable_x64(True):
        constructor = getattr(optax, name, None) or getattr(optax.contrib, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # optimistic_adam, in favour of optimistic_adam_v2
            theirs = constructor(**{key: value_of(x) for key, x in hyper.items()})
        assert trajectories(ours, theirs, scale=scale, scalar_leaf=name != "sm3") <= BOUNDS.get(name, 1e-10)


def test_the_dialect_of_rprop() -> None:
    with jax.enable_x64(True):
        ours = uniopt.dialects.optax.rprop(0.1, 0.25, 1.5, 0.01, 0.5)
        assert trajectories(ours, optax.rprop(0.1, 0.25, 1.5, 0.01, 0.5), scale=1.0, scalar_leaf=True) <= 1e-12


def test_the_dialect_of_optimistic_gradient_descent() -> None:
    with jax.enable_x64(True):
        ours = uniopt.dialects.optax.optimistic_gradient_descent(0.1, 0.5, 0.25)
        theirs = optax.optimistic_gradient_descent(0.1, 0.5, 0.25)
        assert trajectories(ours, theirs, scale=1.0, scalar_leaf=True) <= 1e-12


# optax passes no extra arguments to transformations of others, and makes an array of the seed.
@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - {"polyak_sgd", "noisy_sgd"}))
def test_optax_may_inject_the_hyperparameters(name: str) -> None:
    constructor, params = getattr(uniopt, name), {"w": jax.numpy.ones((2, 3)), "b": jax.numpy.ones(2)}
    static = {"adafactor": ("min_dim_size_to_factor",), "muon": ("ns_steps",)}.get(name, ())
    injected = optax.inject_hyperparams(constructor, static_args=static)(learning_rate=0.125)
    direct = constructor(learning_rate=0.125)
    state, plain_state = jax.jit(injected.init)(params), direct.init(params)
    for _ in range(2):
        updates, state = jax.jit(injected.update)(params, state, params)
        expected, plain_state = direct.update(params, plain_state, params)
        for x, y in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
