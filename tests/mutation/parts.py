"""Transforming some of the leaves: masks, labels, what is frozen, and what has no gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import uniopt
from tests.mutation.wrapper_loops import MU, RATE
from uniopt import tree

Check = Callable[[], None]


def checks() -> Iterator[tuple[str, Check]]:
    """Yield every check with its name."""
    for check in (
        frozen_parameters_stay,
        labels_come_from_paths,
        masks_and_partitions,
        nothing_is_missing_for_missing_gradients,
        subtrees_are_left_out_whole,
    ):
        yield check.__name__.replace("_", " "), check


def frozen_parameters_stay() -> None:
    """By a tree, and by a function."""
    grads = {"w": np.ones(2), "b": np.full(1, 2.0)}

    def vectors(params: Any) -> Any:
        return tree.map(lambda p: p.shape == (1,), params)

    for mask in ({"w": False, "b": True}, vectors):
        for tx in (uniopt.freeze(mask), uniopt.selective_transform(uniopt.scale(1.0), freeze_mask=mask)):
            updates, _ = tx.update(grads, tx.init(grads))
            assert tree.map(lambda x: x.tolist(), updates) == {"w": [1, 1], "b": [0]}
    mask = uniopt.selective_transform(uniopt.trace(0.5), freeze_mask=vectors)
    assert len(tree.leaves(mask.init(grads))) == 1


def labels_come_from_paths() -> None:
    """One pattern for each, and a label for the rest."""
    params = {"a": [np.ones(1), None], "b": {"c": np.ones(1), "d": np.ones(1)}}
    labels = uniopt.path_labels({"a.*": 1, "b.[!d]": 2}, otherwise=3)
    assert labels(params) == {"a": [1, 1], "b": {"c": 2, "d": 3}}
    for patterns, words in (
        ({"a.0": 1}, ["No pattern matches b.c, b.d:"]),
        ({"*": 1, "b.*": 2}, ["Several match b.c ('*' and 'b.*'), b.d ('*' and 'b.*'):"]),
        ({"b*": 1, "b.c": 2}, ["No pattern matches a.0:", "Several match b.c ('b*' and 'b.c'):"]),
    ):
        message = _refusal(uniopt.path_labels(patterns), params)
        assert all(text in message for text in words), message
        assert ("Several" in message) + ("No pattern" in message) == len(words)


def _refusal(f: Callable[..., Any], *args: Any) -> str:
    try:
        return f"returned {f(*args)}"
    except uniopt.errors.UnioptError as error:
        return str(error)


def masks_and_partitions() -> None:
    """Chosen leaves are transformed, with their parameters and their part of extra arguments; others pass."""
    seen: list[Any] = []

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        seen.append((params, extra["tags"]))
        return tree.map(lambda g: -g, updates), state

    plain = uniopt.GradientTransformation(lambda params: (), update)
    grads = {"w": np.ones(2), "b": np.ones(1), "n": None}
    params = {"w": np.full(2, 3.0), "b": np.full(1, 4.0), "n": np.full(1, 5.0)}
    tags, nothing = {"w": "x", "b": "y", "n": "z"}, uniopt.MaskedNode()
    mask = {"w": True, "b": False, "n": False}
    labels = {"w": "a", "b": "b", "n": "b"}
    for compatible in (False, True):
        for tx in (
            uniopt.masked(plain, mask, mask_compatible_extra_args=compatible),
            uniopt.partition({"a": plain, "b": uniopt.identity()}, labels, mask_compatible_extra_args=compatible),
        ):
            seen.clear()
            updates, _ = tx.update(grads, tx.init(params), params, tags=tags, value=1.0)
            assert tree.map(lambda x: x.tolist(), updates) == {"w": [-1, -1], "b": [1], "n": None}
            ((given, extra),) = seen
            assert given["w"].tolist() == [3, 3]
            assert given["b"] == nothing
            assert extra == ({"w": "x", "b": nothing, "n": "z"} if compatible else tags)
            updates, _ = tx.update(grads, tx.init(params), tags=tags)
            assert seen[-1][0] is None
    for tx in (uniopt.masked(plain, mask), uniopt.partition({"a": plain, "b": plain}, labels)):
        tx.update(grads, tx.init(params), params, tags=tags)
        assert seen[-1][1] == tags  # by default they are passed on as they are
    by_label = uniopt.partition({"a": uniopt.trace(0.5), "b": uniopt.sgd(0.5)}, lambda p: tree.map(_by_shape, p))
    updates, state = by_label.update(grads, by_label.init(params))
    assert tree.map(lambda x: x.tolist(), updates) == {"w": [1, 1], "b": [-0.5], "n": None}
    assert state.inner_states["a"].inner_state.trace["w"].tolist() == [1, 1]
    assert len(tree.leaves(by_label.init(params))) == 1
    masked = uniopt.masked(uniopt.trace(0.5), lambda p: tree.map(lambda x: x.shape == (2,), p))
    assert len(tree.leaves(masked.init(params))) == 1


def subtrees_are_left_out_whole() -> None:
    """One node stands for them, whichever gradients are missing; what is no prefix is refused."""
    params = {"a": {"x": np.ones(2), "y": {}}, "b": [np.ones(3), np.ones(4)]}
    prefix, label = {"a": False, "b": [True, False]}, {"a": "s", "b": ["t", "s"]}
    for tx in (
        uniopt.masked(uniopt.trace(0.5), prefix),
        uniopt.partition({"t": uniopt.trace(0.5), "s": uniopt.scale(2.0)}, label),
        uniopt.partition({"t": uniopt.trace(0.5), "s": uniopt.scale(2.0)}, {**label, "a": {"x": "s", "y": "s"}}),
    ):
        state = tx.init(params)
        for missing in ({}, {"a": None}, {"a": {"x": None, "y": {}}}, {"b": None}, {"b": [None, np.ones(4)]}):
            updates, after = tx.update({**params, **missing}, state, params)
            assert [x is None for x in tree.flatten(updates)[0]] == [
                x is None for x in tree.flatten({**params, **missing})[0]
            ]
            for found in (state, after):
                trace = uniopt.tree_get(found, "trace")
                assert [x.shape for x in tree.leaves(trace)] == [(3,)]
                assert trace["b"][1] == uniopt.MaskedNode()
            assert tree.flatten(after)[1] == tree.flatten(state)[1]
    for wrong in ({"a": {"z": True}, "b": True}, {"a": True}, [True, False]):
        assert "no prefix" in _refusal(uniopt.masked(uniopt.trace(0.5), wrong).init, params)
    unknown = uniopt.partition({"t": uniopt.trace(0.5)}, {"a": "t", "b": ["t", "u"]})
    assert "params['b'][1]" in _refusal(unknown.init, params)


def _by_shape(p: Any) -> str:
    return "a" if p.shape == (2,) else "b"


def nothing_is_missing_for_missing_gradients() -> None:
    """A gradient of None leaves its part of every state as it is, when a state begins again too."""
    params = {"a": np.ones(2), "b": np.full(2, 2.0)}
    climb = uniopt.sgd(0.25, momentum=0.5)
    for tx in (
        uniopt.sam(uniopt.sgd(RATE, momentum=MU), climb),
        uniopt.schedule_free_sgd(RATE),
        uniopt.mechanize(uniopt.sgd(RATE, momentum=MU)),
        uniopt.lookahead(uniopt.sgd(RATE, momentum=MU), 2, 0.5, True),
    ):
        given: Any = uniopt.LookaheadParams(params, params) if "lookahead" in repr(tx) else params
        state = tx.init(given)
        _, state = tx.update(params, state, given)
        kept = [x for path, x in tree.leaves_with_paths(state, "s") if path.endswith("['b']")]
        for _ in range(2):
            updates, state = tx.update({"a": params["a"], "b": None}, state, given)
            after = [x for path, x in tree.leaves_with_paths(state, "s") if path.endswith("['b']")]
            np.testing.assert_array_equal(after, kept)
            assert all(x is None for x in (updates if isinstance(updates, dict) else updates.slow).get("b", []) or [])
        nothing = {"a": None, "b": None}
        found, after_all = tx.update(nothing, state, given)
        assert tree.leaves(found) == []
        assert tree.flatten(after_all)[1] == tree.flatten(state)[1]
    tx = uniopt.mechanize(uniopt.adam(RATE))
    found, state = tx.update({"a": None}, tx.init({"a": np.ones(1)}), {"a": np.ones(1)})
    assert found == {"a": None}
    assert int(state.count) == int(state.base_optimizer_state[0].count) == 1
    mixed = uniopt.mechanize(uniopt.sgd(RATE))
    given = {"a": None, "b": np.ones(2)}
    found, _ = mixed.update(given, mixed.init(given), given)
    assert found["a"] is None
    tx = uniopt.sam(uniopt.sgd(RATE), climb, opaque_mode=True)
    given = {"a": np.ones(2), "b": None}
    found, _ = tx.update(given, tx.init(given), given, grad_fn=lambda p, i: {"a": p["a"], "b": np.ones(1)})
    np.testing.assert_allclose(found["a"], np.full(2, -RATE * 1.25))
    assert found["b"] is None
