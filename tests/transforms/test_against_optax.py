"""Every transformation that optax has follows it in float64, with several settings, from numbers and from zeros."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
import pytest

import uniopt
from tests.transforms.settings import OF_EXAMPLES, SETTINGS, WITH_EPSILON, Setting, build, named, nested, per_example

STEPS = 4
TOLERANCE = 1e-14


def transformation_of_optax(setting: Setting) -> Any:
    name, hyper = setting
    hyper = {key: axes_above_one if key == "mask" else x for key, x in hyper.items()}
    return (getattr(optax.contrib, name, None) or getattr(optax, name))(**hyper)


def axes_above_one(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def draw_from(rng: np.random.Generator, spread: float) -> Any:
    """Return a function of a shape that draws numbers of many magnitudes, a tenth of them zero."""

    def draw(*shape: int) -> Any:
        values = rng.standard_normal(shape) * 10.0 ** rng.uniform(-spread, spread, shape)
        return np.asarray(values * (rng.random(shape) > 0.1))

    return draw


def walks(setting: Setting, examples: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield updates, state and parameters of both after each step, from random numbers and from zeros.

    The parameters move by a tenth of the updates.
    """
    rng = np.random.default_rng(11)
    draw = draw_from(rng, 1.0)
    ours, theirs = build(setting), transformation_of_optax(setting)

    @jax.jit
    def step(grads: Any, state: Any, params: Any) -> Any:
        updates, state = theirs.update(grads, state, params)
        return updates, state, optax.apply_updates(params, jax.tree.map(lambda x: 0.1 * x, updates))

    for scale in (1.0, 0.0):
        p = nested(lambda *shape, scale=scale: np.asarray(np.abs(scale * rng.standard_normal(shape))))
        q = jax.tree.map(jax.numpy.asarray, p)
        s, r = ours.init(p), theirs.init(q)
        for _ in range(STEPS):
            grads = nested(per_example(draw, examples) if examples else draw)
            u, s = ours.update(grads, s, p)
            p = uniopt.apply_updates(p, uniopt.tree.map(lambda x: np.asarray(0.1 * x), u))
            v, r, q = step(grads, r, q)
            yield (u, s, p), (v, r, q)


def assert_close(found: Any, expected: Any) -> None:
    """Fail unless the leaves are as close as rounding allows, relative to the largest number in each."""
    theirs = [np.asarray(y) for y in jax.tree.leaves(expected)]
    for (path, x), y in zip(uniopt.tree.leaves_with_paths(found, ""), theirs, strict=True):
        assert x.shape == y.shape, path
        assert x.dtype == y.dtype, path
        largest = np.max(np.abs(y), initial=0)
        np.testing.assert_allclose(np.asarray(x), y, rtol=0, atol=TOLERANCE * largest, err_msg=path)


@pytest.mark.parametrize("setting", [*SETTINGS, *WITH_EPSILON], ids=named)
def test_the_same_path_as_optax(setting: Setting) -> None:
    with jax.enable_x64(True):
        for (u, s, p), (v, r, q) in walks(setting):
            assert_close(u, v)
            assert_close(s, r)
            assert_close(p, q)


@pytest.mark.filterwarnings("ignore:.seed. is deprecated:DeprecationWarning")  # optax's dpsgd uses it itself
@pytest.mark.parametrize("setting", OF_EXAMPLES, ids=named)
def test_the_same_path_from_single_examples(setting: Setting) -> None:
    with jax.enable_x64(True):
        for (u, _, p), (v, _, q) in walks(setting, examples=4):
            assert_close(u, v)
            assert_close(p, q)


@pytest.mark.parametrize("limit", [0.0, 0.5, 20.0, np.inf])
@pytest.mark.parametrize("by_layer", [None, {}, {"uniform": False}], ids=str)
def test_limited_examples(limit: float, by_layer: dict[str, bool] | None) -> None:
    rng = np.random.default_rng(5)
    grads = nested(per_example(draw_from(rng, 0.5), 7))
    grads = uniopt.tree.map(lambda x: np.concatenate([x, np.zeros_like(x[:1])]), grads)
    if by_layer is None:
        ours, theirs = uniopt.per_example_global_norm_clip, optax.per_example_global_norm_clip
    else:
        ours, theirs = uniopt.per_example_layer_norm_clip, optax.per_example_layer_norm_clip
    del grads["nothing"]  # optax divides its bound of zero by its norm of zero
    with jax.enable_x64(True):
        sums, clipped = ours(grads, limit, **by_layer or {})
        expected, numbers = theirs(jax.tree.map(jax.numpy.asarray, grads), limit, **by_layer or {})
        assert_close(sums, expected)
    assert jax.tree.map(int, clipped) == jax.tree.map(int, numbers)
    assert {x.dtype for x in uniopt.tree.leaves(clipped)} == {np.dtype(np.int32)}


@pytest.mark.parametrize("axis", [0, -1, (0, 2), [1, 2, 3], 3])
def test_adaptive_clipping_along_given_axes(axis: Any) -> None:
    rng = np.random.default_rng(6)
    params, grads = (rng.standard_normal((2, 3, 2, 4)) for _ in range(2))
    tx, theirs = (
        m.adaptive_grad_clip(0.25, 0.5, axis if m is uniopt else tuple(np.ravel(axis))) for m in (uniopt, optax)
    )
    with jax.enable_x64(True):
        updates, _ = tx.update(grads, tx.init(params), params)
        expected, _ = theirs.update(jax.numpy.asarray(grads), optax.EmptyState(), jax.numpy.asarray(params))
        assert_close(updates, expected)


@pytest.mark.parametrize("scale", [1e-9, 1e-7, 1e-5])
def test_adaptive_clipping_of_short_gradients(scale: float) -> None:
    """Below a norm of 1e-6, optax's floor under the norm takes effect."""
    grads, params = {"w": np.full((2, 2), scale)}, {"w": np.zeros((2, 2))}
    with jax.enable_x64(True):
        tx = uniopt.adaptive_grad_clip(1e-6)
        updates, _ = tx.update(grads, tx.init(params), params)
        expected, _ = optax.adaptive_grad_clip(1e-6).update(
            jax.tree.map(jax.numpy.asarray, grads), optax.EmptyState(), jax.tree.map(jax.numpy.asarray, params)
        )
        assert_close(updates, expected)


@pytest.mark.parametrize("step_size", [0.0, 0.25, 1.0])
def test_incremental_update(step_size: float) -> None:
    rng = np.random.default_rng(7)
    new, old = (nested(draw_from(rng, 1.0)) for _ in range(2))
    with jax.enable_x64(True):
        expected = optax.incremental_update(*(jax.tree.map(jax.numpy.asarray, x) for x in (new, old)), step_size)
        assert_close(uniopt.incremental_update(new, old, step_size), expected)
        assert_close(uniopt.incremental_update(new, old, np.asarray(step_size)), expected)


def test_periodic_update() -> None:
    new, old = {"w": jax.numpy.ones(2), "b": jax.numpy.ones(())}, {"w": jax.numpy.zeros(2), "b": jax.numpy.zeros(())}
    for period in (1, 3):
        for steps in range(7):
            expected = optax.periodic_update(new, old, jax.numpy.asarray(steps), period)
            number = jax.numpy.asarray(steps)
            for found in (
                uniopt.periodic_update(new, old, steps, period),
                uniopt.periodic_update(new, old, np.int32(steps), period),
                uniopt.periodic_update(new, old, number, period),
                jax.jit(uniopt.periodic_update)(new, old, number, jax.numpy.asarray(period)),
            ):
                assert_close(found, expected)
