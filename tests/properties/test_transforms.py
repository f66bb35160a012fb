"""Chains, masks and stateless functions; optax's transformations in uniopt's chains, and the other way round."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import host, moved

F = np.float32


def params_of(backend: Backend) -> Any:
    return moved(
        {"layer": {"w": np.asarray([1.0, 2.0], F), "b": np.asarray([3.0], F)}, "g": np.asarray(4.0, F)}, backend
    )


def first_update(tx: Any, params: Any, backend: Backend, **extra: Any) -> Any:
    updates, _ = tx.update(params, tx.init(params), params, **extra)
    return host(updates, backend)


def check(found: Any, w: Any, b: Any, g: Any) -> None:
    np.testing.assert_allclose(found["layer"]["w"], w, rtol=1e-6)
    np.testing.assert_allclose(found["layer"]["b"], b, rtol=1e-6)
    np.testing.assert_allclose(found["g"], g, rtol=1e-6)


def test_a_chain_applies_in_order(backend: Backend) -> None:
    params = params_of(backend)
    tx = uniopt.chain(uniopt.scale(2.0), uniopt.add_decayed_weights(1.0), uniopt.scale(-1.0))
    check(first_update(tx, params, backend), [-3, -6], [-9], -12)
    tx = uniopt.chain(uniopt.add_decayed_weights(1.0), uniopt.scale(2.0), uniopt.scale(-1.0))
    check(first_update(tx, params, backend), [-4, -8], [-12], -16)


def test_an_empty_chain_is_the_identity(backend: Backend) -> None:
    params = params_of(backend)
    check(first_update(uniopt.chain(), params, backend), [1, 2], [3], 4)
    check(first_update(uniopt.identity(), params, backend), [1, 2], [3], 4)
    assert uniopt.chain().init(params) == ()


def test_a_named_chain_is_the_chain_with_names(backend: Backend) -> None:
    params = params_of(backend)
    parts = [uniopt.trace(0.9), uniopt.scale_by_schedule(uniopt.linear_schedule(-0.1, -0.2, 4))]
    named, plain = uniopt.named_chain(*zip(("momentum", "rate"), parts, strict=True)), uniopt.chain(*parts)
    states = named.init(params), plain.init(params)
    assert list(states[0]) == ["momentum", "rate"]
    assert isinstance(states[0]["momentum"], uniopt.TraceState)
    for _ in range(3):
        (x, named_state), (y, plain_state) = named.update(params, states[0], params), plain.update(params, states[1])
        states = named_state, plain_state
        for a, b in zip(uniopt.tree.leaves(host(x, backend)), uniopt.tree.leaves(host(y, backend)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert int(backend.to_numpy(states[0]["rate"].count)) == 3


MASKS = {
    "tree": {"layer": {"w": True, "b": False}, "g": False},
    "function": lambda tree: uniopt.tree.map(lambda x: x.ndim == 1 and x.shape[0] == 2, tree),
    "numpy bools": {"layer": {"w": np.True_, "b": np.False_}, "g": np.False_},
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_masked(backend: Backend, mask: Any) -> None:
    params = params_of(backend)
    check(first_update(uniopt.masked(uniopt.scale(-1.0), mask), params, backend), [-1, -2], [3], 4)
    check(first_update(uniopt.add_decayed_weights(1.0, mask), params, backend), [2, 4], [3], 4)
    check(
        first_update(uniopt.adamw(0.5, eps=0.0, weight_decay=1.0, mask=mask), params, backend),
        [-1.0, -1.5],
        [-0.5],
        -0.5,
    )


def test_a_mask_may_be_a_prefix(backend: Backend) -> None:
    params = params_of(backend)
    tx = uniopt.masked(uniopt.scale(-1.0), {"layer": True, "g": False})
    check(first_update(tx, params, backend), [-1, -2], [-3], 4)
    check(first_update(uniopt.masked(uniopt.scale(-1.0), True), params, backend), [-1, -2], [-3], -4)
    check(first_update(uniopt.masked(uniopt.scale(-1.0), False), params, backend), [1, 2], [3], 4)


def test_one_node_stands_for_a_subtree_that_is_left_out() -> None:
    """Whatever gradients are missing in it, as in optax: the state keeps its structure."""
    params = {"a": {"x": np.ones(2), "y": np.ones(3)}, "b": {"x": np.ones(4)}}
    within = {"a": {"x": True, "y": False}, "b": True}
    missing = [{}, {"a": None}, {"a": {"x": None, "y": np.ones(3)}}, {"a": {"x": None, "y": None}}, {"b": None}]
    for tx in (
        uniopt.masked(uniopt.trace(0.5), {"a": False, "b": True}),
        uniopt.partition({"t": uniopt.trace(0.5), "s": uniopt.scale(0.5)}, {"a": "s", "b": "t"}),
        uniopt.partition({"t": uniopt.trace(0.5), "s": uniopt.scale(0.5)}, lambda p: {"a": "s", "b": "t"}),
        uniopt.masked(uniopt.masked(uniopt.trace(0.5), within), {"a": False, "b": True}),
    ):
        state = tx.init(params)
        for none in missing:
            _, after = tx.update({**params, **none}, state, params)
            for found in (state, after):
                trace = uniopt.tree_get(found, "trace")
                assert trace["a"] == uniopt.MaskedNode()
                assert trace["b"]["x"].shape == (4,)


def test_a_label_need_not_hold_for_a_missing_gradient() -> None:
    """A function that looks at the parameters cannot know it; the state is where it was."""
    params = {"m": np.ones((2, 2)), "v": np.ones(2)}
    tx = uniopt.muon(0.1)
    state = tx.init(params)
    _, after = tx.update({"m": None, "v": np.ones(2)}, state, params)
    assert uniopt.tree.flatten(after)[1] == uniopt.tree.flatten(state)[1]
    assert (
        uniopt.tree_get(after.inner_states["muon"], "mu")["m"] is uniopt.tree_get(state.inner_states["muon"], "mu")["m"]
    )


def test_paths_are_made_for_errors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take time that grows with the square of the number of leaves."""
    params = {"w": np.ones((2, 2)), "b": np.ones(2)}
    made = [
        uniopt.masked(uniopt.adam(0.1), {"w": True, "b": False}),
        uniopt.masked(uniopt.adam(0.1), lambda tree: uniopt.tree.map(lambda x: np.bool_(x.ndim > 1), tree)),
        uniopt.partition({"a": uniopt.adam(0.1), "b": uniopt.sgd(0.1)}, {"w": "a", "b": "b"}),
        uniopt.sm3(0.1),
        uniopt.chain(uniopt.sgd(0.1), uniopt.params_mean()),
    ]

    def refuse(*args: Any) -> Any:
        raise AssertionError("a path was made")

    monkeypatch.setattr(uniopt.tree, "paths", refuse)
    for tx in made:
        _, state = tx.update(params, tx.init(params), params)
    uniopt.averaged_params(state, params)


def test_the_states_of_masks_have_the_structure_of_optax() -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    params = jax.tree.map(jax.numpy.asarray, {"a": {"x": F(1.0), "y": [F(2.0)]}, "b": (F(3.0), {"z": F(4.0)})})
    for mask in (True, False, {"a": True, "b": False}, {"a": {"x": False, "y": True}, "b": (True, False)}):
        labels = uniopt.tree.map(lambda x: "yes" if x else "no", mask)
        for make in (
            lambda m, mask=mask: m.masked(m.adam(0.1), mask),
            lambda m, labels=labels: m.multi_transform({"yes": m.adam(0.1), "no": m.sgd(0.1, 0.9)}, labels),
        ):
            found, expected = (str(jax.tree.structure(make(m).init(params))) for m in (uniopt, optax))
            assert found == expected


def test_a_masked_state_knows_only_its_leaves(backend: Backend) -> None:
    params = params_of(backend)
    tx = uniopt.masked(uniopt.trace(0.5), {"layer": {"w": True, "b": False}, "g": False})
    state = tx.init(params)
    assert isinstance(state.inner_state.trace["layer"]["b"], uniopt.MaskedNode)
    assert len(uniopt.tree.leaves(state)) == 1
    for expected in ([1, 2], [1.5, 3.0]):
        updates, state = tx.update(params, state, params)
        check(host(updates, backend), expected, [3], 4)


def doubled(updates: Any, params: Any) -> Any:
    return uniopt.tree.map(lambda g: 2 * g, updates)


def plus_params(updates: Any, params: Any) -> Any:
    return uniopt.tree.map(lambda g, p: g + p, updates, params)


def test_stateless(backend: Backend) -> None:
    params = params_of(backend)
    check(first_update(uniopt.stateless(doubled), params, backend), [2, 4], [6], 8)
    check(
        first_update(uniopt.chain(uniopt.stateless(plus_params), uniopt.scale(-1.0)), params, backend),
        [-2, -4],
        [-6],
        -8,
    )
    assert uniopt.stateless(doubled).init(params) == uniopt.EmptyState()


class PolyakState(NamedTuple):
    pass


def polyak(xp: Any, g: Any, s: Any, *, value: Any, scaling: float) -> Any:
    """A rule with an extra argument."""
    return -scaling * value * g, s


def test_extra_arguments_reach_every_part(backend: Backend) -> None:
    params = params_of(backend)
    needs_value = uniopt.leafwise(PolyakState, None, polyak, scaling=0.5)
    tx = uniopt.chain(
        uniopt.identity(),
        uniopt.masked(uniopt.chain(needs_value), {"layer": True, "g": False}),
        uniopt.named_chain(("again", needs_value)),
    )
    for value in (2.0, backend.from_numpy(np.asarray(2.0, F))):
        found = first_update(tx, params, backend, value=value, unknown="ignored")
        check(found, [1, 2], [3], -4)


def test_unknown_extra_arguments_are_no_error(backend: Backend) -> None:
    params = params_of(backend)
    check(first_update(uniopt.sgd(1.0), params, backend, value=1.0, grad=params), [-1, -2], [-3], -4)


def test_optax_inside_uniopt() -> None:
    import jax
    import optax

    backend = require("jax")
    params = params_of(backend)
    tx = uniopt.chain(optax.clip_by_global_norm(1.0), uniopt.scale_by_adam(), optax.scale(-0.1))
    theirs = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.scale(-0.1))
    state, their_state = tx.init(params), theirs.init(params)
    step = jax.jit(tx.update)
    for _ in range(3):
        updates, state = step(params, state, params)
        their_updates, their_state = theirs.update(params, their_state, params)
        for x, y in zip(jax.tree.leaves(updates), jax.tree.leaves(their_updates), strict=True):
            np.testing.assert_allclose(x, y, rtol=3e-5)  # optax's bias correction is float32
    assert type(state[1]).__name__ == type(their_state[1]).__name__ == "ScaleByAdamState"


def test_optax_inside_uniopt_is_given_extra_arguments() -> None:
    import optax

    params = params_of(require("jax"))
    tx = uniopt.chain(optax.polyak_sgd(max_learning_rate=1.0), uniopt.scale(2.0))
    theirs = optax.polyak_sgd(max_learning_rate=1.0)
    updates, _ = tx.update(params, tx.init(params), params, value=3.0)
    expected, _ = theirs.update(params, theirs.init(params), params, value=3.0)
    np.testing.assert_allclose(updates["g"], 2 * expected["g"], rtol=1e-6)


def test_uniopt_inside_optax() -> None:
    import jax
    import optax

    params = params_of(require("jax"))
    tx = optax.chain(optax.clip_by_global_norm(1.0), uniopt.adamw(0.1))
    theirs = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1))

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, state = tx.update(params, state, params)
        return optax.apply_updates(params, updates), state

    mine = other = params
    state, their_state = tx.init(params), theirs.init(params)
    for _ in range(3):
        mine, state = step(mine, state)
        updates, their_state = theirs.update(other, their_state, other)
        other = optax.apply_updates(other, updates)
    for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)
    counts = optax.tree.get_all_with_path(state, "count")
    assert [int(value) for _, value in counts] == [3]
