"""What a descent does not show of transformations: states, averages of the parameters, and single examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from uniopt.conformance.reference.clip import adaptive_grad_clip
from uniopt.conformance.reference.scalars import norm as norm_of

import uniopt
from uniopt import random, tree

Check = Callable[[], None]
NAN = math.nan


def checks() -> Iterator[tuple[str, Check]]:
    """Yield every check with its name."""
    for check in (
        adaptive_clipping_goes_along_given_axes,
        examples_are_limited_by_layer,
        examples_are_limited_together,
        functions_of_trees_and_leaves_are_applied,
        matrices_decay,
        nan_is_noted_and_replaced,
        noise_is_drawn_anew,
        norms_are_taken_where_the_widest_leaf_is,
        parameters_stay_nonnegative,
        private_gradients_are_means,
    ):
        yield check.__name__.replace("_", " "), check


def adaptive_clipping_goes_along_given_axes() -> None:
    rng = np.random.default_rng(0)
    g, p = (rng.standard_normal((2, 3, 2)) for _ in range(2))
    for axis in (1, -1, (0, 2), [0, 1]):
        tx = uniopt.adaptive_grad_clip(0.5, 0.25, axis)
        found, _ = tx.update(g, tx.init(p), p)
        expected = adaptive_grad_clip(
            g.shape, p.ravel().tolist(), g.ravel().tolist(), clipping=0.5, eps=0.25, axis=axis
        )
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-13)
    for scale in (1e-8, 1e-7, 1e-5):  # the floor under the gradient's norm is 1e-6
        tx = uniopt.adaptive_grad_clip(1e-9, 1.0)
        found, _ = tx.update(np.asarray([scale]), tx.init(np.zeros(1)), np.zeros(1))
        np.testing.assert_allclose(found, scale * min(1.0, 1e-9 / max(scale, 1e-6)), rtol=1e-13)
    tx, first = uniopt.adaptive_grad_clip(0.5, 0.25), uniopt.adaptive_grad_clip(0.5, 0.25, 0)
    np.testing.assert_array_equal(tx.update(g, tx.init(p), p)[0], first.update(g, first.init(p), p)[0])
    for shape in ((1, 2, 1, 3, 1), (2, 1, 3, 1, 2, 1), (1, 1, 1, 1, 1, 4)):
        x = np.ones(shape)
        tx = uniopt.adaptive_grad_clip(0.5)
        try:
            tx.update(x, tx.init(x), x)
            refused = False
        except uniopt.errors.HyperparameterError:
            refused = True
        assert refused == (shape == (2, 1, 3, 1, 2, 1))


def _examples() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    grads = {"w": rng.standard_normal((4, 2, 3)), "b": 3 * rng.standard_normal(4), "none": None}
    grads["w"][3], grads["b"][3] = 0.0, 0.0
    return grads


def _limited(grads: dict[str, Any], limit: float) -> tuple[dict[str, Any], int]:
    names = [key for key, g in grads.items() if g is not None]
    norms = [norm_of([x for key in names for x in grads[key][i].ravel()]) for i in range(4)]
    factors = [min(1.0, limit / n) if n > 0 else 1.0 for n in norms]
    sums = {key: sum(f * grads[key][i] for i, f in enumerate(factors)) for key in names}
    return sums, sum(n > limit for n in norms)


def examples_are_limited_together() -> None:
    grads = _examples()
    for limit in (0.0, 1.0, 3.0, math.inf):
        found, clipped = uniopt.per_example_global_norm_clip(grads, limit)
        expected, number = _limited(grads, limit)
        assert clipped == number
        assert clipped.dtype == np.int32
        assert found["none"] is None
        for key, x in expected.items():
            np.testing.assert_allclose(found[key], x, rtol=1e-13)
    assert uniopt.per_example_global_norm_clip({"none": None}, 1.0) == ({"none": None}, 0)


def examples_are_limited_by_layer() -> None:
    grads = _examples()
    for uniform, shares in ((True, {"w": 1 / 2, "b": 1 / 2}), (False, {"w": 6 / 7, "b": 1 / 7})):
        found, clipped = uniopt.per_example_layer_norm_clip(grads, 3.0, uniform)
        for key, share in shares.items():
            expected, number = _limited({key: grads[key]}, 3.0 * math.sqrt(share))
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-13)
            assert clipped[key] == number
            assert clipped[key].dtype == np.int32
    default, _ = uniopt.per_example_layer_norm_clip(grads, 3.0)
    np.testing.assert_array_equal(default["b"], uniopt.per_example_layer_norm_clip(grads, 3.0, True)[0]["b"])
    alone, _ = uniopt.per_example_layer_norm_clip({"b": grads["b"]}, 1.0, False)
    np.testing.assert_allclose(alone["b"], _limited({"b": grads["b"]}, 1.0)[0]["b"], rtol=1e-13)
    for wrong in ({"a": np.ones((2, 3)), "b": np.ones(3)}, {"a": np.ones(())}):
        try:
            uniopt.per_example_layer_norm_clip(wrong, 1.0)
            raise AssertionError("the leaves do not agree")
        except uniopt.errors.ShapeError:
            pass
    empty, _ = uniopt.per_example_layer_norm_clip({"w": np.zeros((2, 0))}, 1.0, False)
    assert empty["w"].shape == (0,)


def private_gradients_are_means() -> None:
    grads = _examples()
    params: Any = {"w": np.ones((2, 3)), "b": np.asarray(1.0), "none": None}
    tx = uniopt.differentially_private_aggregate(3.0, 0.0)
    found, state = tx.update(grads, tx.init(params), params)
    expected, _ = _limited(grads, 3.0)
    for key, x in expected.items():
        np.testing.assert_allclose(found[key], x / 4, rtol=1e-13)
    for nesterov, factor in ((False, 1.0), (True, 1.5)):
        sgd = uniopt.dpsgd(0.25, 3.0, 0.0, 0, momentum=0.5, nesterov=nesterov)
        steps, _ = sgd.update(grads, sgd.init(params), params)
        np.testing.assert_allclose(steps["w"], -0.25 * factor * found["w"], rtol=1e-13)
    noisy, same = uniopt.dpsgd(1.0, 3.0, 0.75, 9), uniopt.differentially_private_aggregate(3.0, 0.75, 9)
    steps, noise = noisy.update(grads, noisy.init(params), params)[0], same.update(grads, same.init(params), params)[0]
    np.testing.assert_array_equal(steps["w"], -noise["w"])
    plain = uniopt.dpsgd(0.5, 3.0, 0.0, 0)
    assert len(tree.leaves(plain.init(params))) == 1
    assert uniopt.dpsgd(0.5, 3.0, 0.0, 0, 0.5) == uniopt.dpsgd(0.5, 3.0, 0.0, 0, 0.5, False)
    nothing = tree.map(lambda g: None, grads)
    assert tx.update(nothing, state, params)[0] == nothing
    longer = uniopt.chain(tx, uniopt.scale(2.0))
    np.testing.assert_allclose(longer.update(grads, longer.init(params), params)[0]["w"], 2 * found["w"], rtol=1e-13)


def noise_is_drawn_anew() -> None:
    """For each leaf and step, with the standard deviation of the formula."""
    zeros = {"a": np.zeros((3, 20_000)), "none": None, "b": np.zeros((3, 20_000))}
    tx = uniopt.differentially_private_aggregate(2.0, 0.75, 5)
    state = tx.init(zeros)
    drawn = []
    for _ in range(2):
        found, state = tx.update(zeros, state)
        drawn += [found["a"], found["b"]]
    for x in drawn:
        np.testing.assert_allclose(x.std(), 2.0 * 0.75 / 3, rtol=0.03)
    assert np.max(np.abs(np.corrcoef(drawn) - np.eye(4))) < 0.04
    _, key = random.split(tx.init(zeros).rng_key)
    np.testing.assert_allclose(drawn[0], 0.5 * random.normal(key, zeros["a"][0]), rtol=1e-13)
    assert uniopt.noisy_sgd(1.0, seed=5) == uniopt.noisy_sgd(1.0, key=5)
    assert uniopt.noisy_sgd(1.0, seed=5) != uniopt.noisy_sgd(1.0)
    same = uniopt.differentially_private_aggregate(2.0, 0.75, seed=5)
    np.testing.assert_array_equal(same.update(zeros, same.init(zeros))[0]["a"], drawn[0])


def functions_of_trees_and_leaves_are_applied() -> None:
    params, grads = {"w": np.asarray(3.0), "none": None}, {"w": np.asarray(2.0), "none": None}

    def of_leaf(g: Any, p: Any) -> Any:
        return -g if p is None else g * p

    def of_tree(updates: Any, params: Any) -> Any:
        return tree.map(lambda g: of_leaf(g, None if params is None else params["w"]), updates)

    for tx in (uniopt.stateless(of_tree), uniopt.stateless_with_tree_map(of_leaf)):
        assert tx.update(grads, tx.init(params), params)[0] == {"w": 6.0, "none": None}
        assert tx.update(grads, tx.init(params))[0] == {"w": -2.0, "none": None}


def matrices_decay() -> None:
    params = {"w": np.ones((2, 2)), "k": np.ones((1, 1, 1)), "b": np.ones(2), "s": np.ones(()), "number": 1.0}
    found = uniopt.weight_decay_mask(params)
    assert found == {"w": True, "k": True, "b": False, "s": False, "number": False}


def nan_is_noted_and_replaced() -> None:
    tx = uniopt.zero_nans()
    grads = {"a": np.asarray([1.0, NAN, math.inf]), "b": np.asarray(2.0)}
    state = tx.init(grads)
    assert state.found_nan == {"a": False, "b": False}
    assert all(x.dtype == bool for x in tree.leaves(state))
    updates, state = tx.update(grads, state)
    np.testing.assert_array_equal(updates["a"], [1.0, 0.0, math.inf])
    assert updates["b"] == 2.0
    assert state.found_nan == {"a": True, "b": False}
    _, state = tx.update(tree.map(np.zeros_like, grads), state)
    assert state.found_nan == {"a": False, "b": False}
    assert tx.init({"w": np.asarray([NAN])}).found_nan == {"w": False}


def norms_are_taken_where_the_widest_leaf_is() -> None:
    single, double = np.asarray([3.0], np.float32), np.asarray([4e30])
    for leaves in ([single, double], [double, None, single]):
        found = uniopt.global_norm(leaves)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, 4e30, rtol=1e-15)
    assert uniopt.global_norm([np.asarray([3 + 4j], np.complex64)]).dtype == np.float32
    assert uniopt.global_norm({}) == 0.0
    zeros = np.zeros(2)
    for tx in (uniopt.clip_by_global_norm(1.0), uniopt.normalize(), uniopt.normalize_by_update_norm(eps=0.0)):
        with np.errstate(divide="raise", invalid="raise"):
            assert not tx.update(zeros, uniopt.EmptyState())[0].any()
    for tx in (uniopt.clip_by_global_norm(1.0), uniopt.normalize()):
        assert tx.update({}, tx.init({})) == ({}, uniopt.EmptyState())
        for bad, other in ((NAN, NAN), (math.inf, 0.0)):
            with np.errstate(invalid="ignore"):
                updates, _ = tx.update(np.asarray([bad, 1.0]), uniopt.EmptyState())
            np.testing.assert_array_equal(updates, [NAN, other])


def parameters_stay_nonnegative() -> None:
    tx = uniopt.keep_params_nonnegative()
    params = np.asarray([1.0, 1.0, 1.0, 0.0, -1.0])
    updates, _ = tx.update(np.asarray([-0.5, -1.0, -1.5, 0.0, 0.5]), tx.init(params), params)
    np.testing.assert_array_equal(params + updates, [0.5, 0.0, 0.0, 0.0, 0.0])
