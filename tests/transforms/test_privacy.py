"""Differentially private gradients: the noise, what a compiled step makes of single examples, and wrong shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import require
from tests.fusion.walks import in_torch
from tests.properties.problems import host, moved

F = np.float32


def start() -> Any:
    return {"w": np.ones((2, 3), F), "b": np.asarray(0.5, F)}


def of_examples(examples: int = 5, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return uniopt.tree.map(lambda p: rng.standard_normal((examples, *p.shape)).astype(F), start())


def aggregate(**hyper: Any) -> uniopt.GradientTransformation:
    return uniopt.differentially_private_aggregate(**{"l2_norm_clip": 0.5, "noise_multiplier": 2.0, "key": 7, **hyper})


def noise_of(tx: uniopt.GradientTransformation, params: Any, steps: int, examples: int) -> list[Any]:
    zeros = uniopt.tree.map(lambda p: np.zeros((examples, *p.shape)), params)
    state, found = tx.init(params), []
    for _ in range(steps):
        updates, state = tx.update(zeros, state, params)
        found.append(updates)
    return found


@pytest.mark.parametrize(("limit", "multiplier", "examples"), [(0.5, 2.0, 1), (3.0, 0.25, 4)])
def test_the_noise_has_the_variance_of_the_formula(limit: float, multiplier: float, examples: int) -> None:
    params = {"a": np.zeros(40_000), "b": np.zeros(40_000)}
    tx = aggregate(l2_norm_clip=limit, noise_multiplier=multiplier)
    drawn = [x for noise in noise_of(tx, params, 3, examples) for x in noise.values()]
    for x in drawn:
        assert x.std() == pytest.approx(limit * multiplier / examples, rel=4 / math.sqrt(2 * x.size))
        assert abs(x.mean()) < 4 * x.std() / math.sqrt(x.size)
    correlations = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.max(np.abs(correlations)) < 4.5 / math.sqrt(40_000)  # leaves and steps draw anew


@pytest.mark.parametrize("name", ["torch", "mlx", "array_api_strict", *(
    pytest.param(name, marks=pytest.mark.wide) for name in ("jax", "dask")
)])  # fmt: skip
def test_the_same_noise_everywhere(name: str) -> None:
    backend = require(name)
    expected = noise_of(aggregate(), start(), 2, 3)
    params, zeros = moved(start(), backend), moved(uniopt.tree.map(np.zeros_like, of_examples(3)), backend)
    tx = aggregate()
    state = tx.init(params)
    for noise in expected:
        updates, state = tx.update(zeros, state, params)
        for x, y in zip(uniopt.tree.leaves(host(updates, backend)), uniopt.tree.leaves(noise), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_the_seed_and_the_state_decide() -> None:
    params = np.zeros(3)
    zeros = np.zeros((2, 3))

    def first(tx: uniopt.GradientTransformation) -> Any:
        return tx.update(zeros, tx.init(params), params)[0].tolist()

    assert first(aggregate()) == first(aggregate(key=None, seed=7))
    assert first(aggregate(key=None)) == first(aggregate(key=0))
    assert first(aggregate()) != first(aggregate(key=8))
    _, state = aggregate().update(zeros, aggregate().init(params), params)
    there, _ = aggregate().update(zeros, state, params)
    again, _ = aggregate(key=123).update(zeros, state, params)  # another seed, but the saved state
    np.testing.assert_array_equal(there, again)
    assert there.tolist() != first(aggregate())


def test_one_example_moves_the_sum_by_no_more_than_the_limit() -> None:
    grads = of_examples(6)
    whole, _ = uniopt.per_example_global_norm_clip(grads, 0.75)
    for i in range(6):
        without, _ = uniopt.per_example_global_norm_clip(
            uniopt.tree.map(lambda g, i=i: np.delete(g, i, 0), grads), 0.75
        )
        assert uniopt.global_norm(uniopt.tree.map(lambda x, y: np.asarray(x - y), whole, without)) < 0.7501


def test_a_chain_takes_examples_where_its_first_part_does() -> None:
    params, grads = start(), of_examples()
    expected, _ = aggregate().update(grads, aggregate().init(params), params)
    for tx, inner in (
        (uniopt.chain(aggregate(), uniopt.scale(2.0)), None),
        (uniopt.chain(uniopt.chain(aggregate()), uniopt.adam(0.1)), None),
        (uniopt.named_chain(("private", aggregate()), ("twice", uniopt.scale(2.0))), "twice"),
    ):
        updates, _ = tx.update(grads, tx.init(params), params)
        assert updates["w"].shape == (2, 3)
        if inner == "twice":
            np.testing.assert_allclose(updates["w"], 2 * expected["w"], rtol=1e-6)
    for tx in (uniopt.chain(uniopt.scale(2.0), aggregate()), uniopt.chain(), uniopt.sgd(0.1)):
        with pytest.raises(uniopt.errors.ShapeError, match="uniopt does not broadcast"):
            tx.update(grads, tx.init(params), params)


WRAPPERS = {
    "inject_hyperparams": lambda: uniopt.inject_hyperparams(uniopt.dpsgd)(0.5, 1.0, 0.5, 7),
    "inject_hyperparams, a schedule": lambda: uniopt.inject_hyperparams(uniopt.dpsgd)(lambda n: 0.5, 1.0, 0.5, 7),
    "master_weights": lambda: uniopt.master_weights(uniopt.dpsgd(0.5, 1.0, 0.5, 7)),
    "partition": lambda: uniopt.partition({"a": uniopt.dpsgd(0.5, 1.0, 0.5, 7)}, "a"),
}


@pytest.mark.parametrize("make", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_that_hand_gradients_on_take_examples(make: Any) -> None:
    params, grads, plain = start(), of_examples(), uniopt.dpsgd(0.5, 1.0, 0.5, 7)
    expected, _ = plain.update(grads, plain.init(params), params)
    tx, own = make(), uniopt.tree.map(np.array, params)
    updates, _ = tx.update(grads, tx.init(params), params)
    compiled, _ = uniopt.compile(tx)(grads, tx.init(own), own)
    for name, x in expected.items():
        np.testing.assert_allclose(updates[name], x, rtol=1e-6)
        np.testing.assert_allclose(compiled[name], params[name] + x, rtol=1e-6)


def test_iterates_of_a_private_optimizer() -> None:
    params, grads, plain = start(), of_examples(), uniopt.dpsgd(0.5, 1.0, 0.5, 7)
    expected, _ = plain.update(grads, plain.init(params), params)
    for tx, pair in ((uniopt.lookahead(plain, 5, 0.5), True), (uniopt.schedule_free(plain, 0.5, b1=1.0), False)):
        given = uniopt.LookaheadParams.init_synced(params) if pair else params
        updates, _ = tx.update(grads, tx.init(given), given)
        np.testing.assert_allclose((updates.fast if pair else updates)["w"], expected["w"], atol=1e-6)


@pytest.mark.parametrize("missing", [False, True], ids=["whole", "with None"])
def test_a_compiled_step_takes_examples(missing: bool) -> None:
    """Warnings are errors here, those of a fallback too."""
    tx = uniopt.dpsgd(0.125, 2.0, 0.25, 7, momentum=0.5)
    params, step = start(), uniopt.compile(tx)
    in_place, tensors = uniopt.tree.map(np.array, params), in_torch(params)
    state, own, torch_state = tx.init(params), tx.init(in_place), tx.init(tensors)
    for k in range(3):
        grads = {**of_examples(4, k), **({"b": None} if missing and k == 1 else {})}
        updates, state = tx.update(grads, state, params)
        params = uniopt.apply_updates(params, updates)
        in_place, own = step(grads, own, in_place)
        tensors, torch_state = step(in_torch(grads), torch_state, tensors)
        for x, y, z in zip(*map(uniopt.tree.leaves, (params, in_place, tensors)), strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(z.numpy(), x, rtol=1e-6, atol=1e-7)


def test_without_parameters_and_without_gradients() -> None:
    tx, params, grads = aggregate(), start(), of_examples()
    with_params, _ = tx.update(grads, tx.init(params), params)
    without, _ = tx.update(grads, tx.init(params))
    np.testing.assert_array_equal(without["w"], with_params["w"])
    updates, state = tx.update({"w": None, "b": None}, tx.init(params), params)
    assert updates == {"w": None, "b": None}
    assert type(state) is uniopt.DifferentiallyPrivateAggregateState
    sums, clipped = uniopt.per_example_global_norm_clip({"w": None}, 1.0)
    assert sums == {"w": None}
    assert int(clipped) == 0
    assert uniopt.per_example_layer_norm_clip({"w": None}, 1.0) == ({"w": None}, {"w": None})


def test_wrong_shapes() -> None:
    params, grads = start(), of_examples()
    state = aggregate().init(params)
    with pytest.raises(
        uniopt.errors.ShapeError, match=r"updates\['b'\] has shape \(2, 3\).*the gradient of each example"
    ):
        aggregate().update({"w": grads["w"], "b": grads["w"][0]}, state, params)
    with pytest.raises(uniopt.errors.ShapeError, match=r"updates\['b'\] has shape \(\), expected gradients of one"):
        aggregate().update(start(), state, params)
    with pytest.raises(uniopt.errors.ShapeError, match=r"updates\['w'\] has shape \(2, 3\), expected gradients of one"):
        aggregate().update({"w": params["w"], "b": grads["b"]}, state, params)
    for clip in (uniopt.per_example_global_norm_clip, uniopt.per_example_layer_norm_clip):
        with pytest.raises(
            uniopt.errors.ShapeError, match=r"grads\['b'\] has shape \(\), expected gradients of one or more"
        ):
            clip({"w": grads["w"], "b": np.asarray(1.0)}, 1.0)
        with pytest.raises(
            uniopt.errors.ShapeError, match=r"grads\['w'\] has shape \(0, 2\), expected gradients of one or more"
        ):
            clip({"w": np.zeros((0, 2))}, 1.0)
        with pytest.raises(
            uniopt.errors.ShapeError, match=r"grads\['w'\] has shape \(5, 2, 3\), grads\['b'\] has shape \(3,\)"
        ):
            clip({"w": grads["w"], "b": grads["b"][:3]}, 1.0)
        with pytest.raises(uniopt.errors.HyperparameterError, match="norm_clip is -1"):
            clip(grads, -1)
    with pytest.raises(uniopt.errors.StateError, match="differentially_private_aggregate was given"):
        aggregate().update(grads, uniopt.EmptyState(), params)
    with pytest.raises(uniopt.errors.HyperparameterError, match="key is 1 and seed is 2"):
        aggregate(key=1, seed=2)
