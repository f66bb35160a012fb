"""The transformations on every library: NumPy's numbers, leaves and states that keep their kind, no NaN of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.error_unit import ulps
from tests.properties.problems import gradients, host, moved, parameters, small_tree, trajectory, walk
from tests.transforms.settings import OF_EXAMPLES, OWN, SETTINGS, Setting, build, named, per_example

F = np.float32
EVERY = [*SETTINGS, *OWN]
FIRST = [EVERY[[name for name, _ in EVERY].index(name)] for name in dict.fromkeys(name for name, _ in EVERY)]
WITH_EXAMPLES = [*FIRST, *(pytest.param(setting, marks=pytest.mark.wide) for setting in OF_EXAMPLES)]
"""Noise takes seconds where every operation on every shape is compiled by itself; test_privacy has it."""
LIBRARIES = ["numpy", "torch", *(pytest.param(name, marks=pytest.mark.wide) for name in ("jax", "mlx"))]
REAL_ONLY = ("clip", "keep_params_nonnegative")


def start() -> Any:
    return uniopt.tree.map(lambda x: np.asarray(np.abs(x)), parameters(3, F, tree=small_tree))


def of_examples(examples: int = 3) -> list[Any]:
    rng = np.random.default_rng(8)
    draw = per_example(lambda *shape: rng.standard_normal(shape).astype(F), examples)
    return [small_tree(draw) for _ in range(2)]


@pytest.mark.parametrize("setting", WITH_EXAMPLES, ids=named)
def test_the_numbers_of_numpy(backend: Backend, setting: Setting) -> None:
    stream = of_examples() if setting in OF_EXAMPLES else gradients(4, 2, F, small_tree)
    tx = build(setting)
    worst = ulps(trajectory(tx, start(), stream, backend), trajectory(tx, start(), stream, require("numpy")))
    assert worst.value <= 4, worst


def outline(tree: Any) -> list[Any]:
    return [(path, type(x), x.dtype, tuple(x.shape)) for path, x in uniopt.tree.leaves_with_paths(tree, "")]


@pytest.mark.parametrize("setting", WITH_EXAMPLES, ids=named)
def test_kinds_are_kept_and_none_is_skipped(backend: Backend, setting: Setting) -> None:
    stream = of_examples() if setting in OF_EXAMPLES else gradients(4, 2, F, small_tree)
    tx, params = build(setting), moved(start(), backend)
    first, second = (moved(g, backend) for g in stream)
    state = tx.init(params)
    wanted = outline(params), outline(state)
    updates, state = tx.update(first, state, params)
    assert (outline(updates), outline(state)) == wanted
    part = {**second, "w": None}
    updates, after = tx.update(part, state, params)
    assert updates["w"] is None
    assert outline(after) == wanted[1]
    before = dict(uniopt.tree.leaves_with_paths(state, ""))
    for path, x in uniopt.tree.leaves_with_paths(after, ""):
        if "['w']" in path:
            np.testing.assert_array_equal(backend.to_numpy(x), backend.to_numpy(before[path]), err_msg=path)
    none = {"w": None, "rest": None}
    updates, after = tx.update(none, after, params)
    assert uniopt.tree.leaves(updates) == []
    assert outline(after) == wanted[1]


@pytest.mark.parametrize("setting", WITH_EXAMPLES, ids=named)
def test_zeros_stay_zeros(backend: Backend, setting: Setting) -> None:
    zeros = moved(uniopt.tree.map(np.zeros_like, start()), backend)
    grads = uniopt.tree.map(lambda x: backend.xp.stack([x] * 2), zeros) if setting in OF_EXAMPLES else zeros
    for updates, state, _ in walk(build(setting), zeros, [grads] * 2, backend):
        for tree in (updates, state):
            for path, x in uniopt.tree.leaves_with_paths(host(tree, backend), ""):
                assert not x.any() or path.endswith((".count", ".rng_key")), path


def first_update(tx: uniopt.GradientTransformation, params: Any, grads: Any) -> tuple[Any, Any]:
    return tx.update(grads, tx.init(params), params)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("setting", WITH_EXAMPLES, ids=named)
@pytest.mark.parametrize("name", LIBRARIES)
def test_sixteen_bits_are_computed_in_float32(name: str, setting: Setting, dtype: str) -> None:
    """The squares of 300 are too large for float16, and those of 1e-4 too small."""
    backend = require(name)
    tx = build(setting)
    for scale in (300.0, 1e-4):
        params = {"w": np.asarray([[1.0, 2.0], [0.5, 0.25]], F), "b": np.asarray([1.0, 0.5], F)}
        grads = uniopt.tree.map(lambda x, scale=scale: scale * np.asarray(x / (2 + x), F), params)
        if setting in OF_EXAMPLES:
            grads = uniopt.tree.map(lambda x: np.stack([x, -0.5 * x]), grads)
        found, state = first_update(tx, moved(params, backend, dtype), moved(grads, backend, dtype))
        rounded = (host(moved(x, backend, dtype), backend) for x in (params, grads))
        expected, _ = first_update(tx, *(moved(x, backend, "float32") for x in rounded))
        for x, y in zip(uniopt.tree.leaves(found), uniopt.tree.leaves(expected), strict=True):
            assert dtype_name(x.dtype) == dtype
            precision, least = (2**-8, 2**-134) if dtype == "bfloat16" else (2**-11, 2**-25)
            numbers = backend.to_numpy(x).astype(F)
            np.testing.assert_allclose(numbers, backend.to_numpy(y), rtol=1.01 * precision, atol=1.01 * least)
        for x in uniopt.tree.leaves(state):
            assert dtype_name(x.dtype) in ("float32", "int32", "bool")


@pytest.mark.parametrize("setting", WITH_EXAMPLES, ids=named)
@pytest.mark.parametrize("name", ["array_api_strict", *LIBRARIES])
def test_complex_numbers_turn_with_the_gradients(name: str, setting: Setting) -> None:
    """Gradients and parameters turned by an angle have the updates of the real ones, turned by it."""
    backend = require(name)
    phase = np.complex64(0.6 + 0.8j)
    stream = of_examples() if setting in OF_EXAMPLES else gradients(4, 2, F, small_tree)
    tx = uniopt.chain(build(setting), uniopt.scale(0.25))  # some would go to 0 in one step, but for rounding
    turned = [moved(uniopt.tree.map(lambda x: np.asarray(phase * x), x), backend) for x in (start(), *stream)]
    if setting[0] in REAL_ONLY:
        with pytest.raises(uniopt.errors.DtypeKindError, match=r"At params\['rest'\]\[0\]: .* needs real numbers"):
            tx.update(turned[1], tx.init(turned[0]), turned[0])
        return
    expected = trajectory(tx, start(), stream, backend)
    found = trajectory(tx, host(turned[0], backend), [host(g, backend) for g in turned[1:]], backend)
    for leaves, others in zip(expected, found, strict=True):
        for x, z in zip(leaves, others, strict=True):
            np.testing.assert_allclose(z, phase * x, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("setting", FIRST, ids=named)
def test_what_is_not_finite_stays_in_its_leaf_unless_all_share_a_norm(setting: Setting) -> None:
    shared = setting[0] in ("clip_by_global_norm", "normalize", "normalize_by_update_norm")
    params = {"sick": np.asarray([1.0, 2.0]), "well": np.asarray([3.0])}
    with np.errstate(invalid="ignore"):
        for bad in (np.nan, np.inf):
            grads = {"sick": np.asarray([bad, 0.5]), "well": np.asarray([0.5])}
            updates, _ = build(setting).update(grads, build(setting).init(params), params)
            assert np.isfinite(updates["well"]).all() or (shared and np.isnan(bad))
            if setting[0] not in ("zero_nans", "set_to_zero", "clip", "scale_by_sign"):
                assert not np.isfinite(updates["sick"][0])
