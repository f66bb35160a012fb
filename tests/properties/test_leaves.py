"""0-d, empty and None leaves; what a None gradient skips stays untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.properties.problems import ONE_EACH, PLAIN, STATEFUL, Case, host, moved, rules_first, settled, walk

F = np.float32


def a_tree() -> Any:
    return {"a": {"w": np.asarray([1.0, -2.0], F), "b": np.asarray(3.0, F)}, "c": [np.asarray([4.0], F)] * 2}


def leaves_of(tree: Any, backend: Backend) -> dict[str, Any]:
    return {path: backend.to_numpy(x) for path, x in uniopt.tree.leaves_with_paths(tree, "")}


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_zero_dimensional_and_empty_leaves(backend: Backend, case: Case) -> None:
    """A 0-d leaf moves like the same number in a vector; an empty one stays empty."""
    tx = case.build()
    stream = [0.5, -1.5, 0.25]
    points = {"0d": np.asarray(0.75, F), "1d": np.asarray([0.75], F), "none": np.zeros((3, 0, 2), F)}
    params = moved(points, backend)
    grads = [moved({k: np.full_like(p, g) for k, p in points.items()}, backend) for g in stream]
    for updates, _, new in walk(tx, params, grads, backend):
        got, moved_by = host(new, backend), host(updates, backend)
        assert got["0d"].shape == ()
        assert got["1d"].shape == (1,)
        assert got["none"].shape == moved_by["none"].shape == (3, 0, 2)
        np.testing.assert_array_max_ulp(got["0d"], got["1d"][0], 1)
    assert got["0d"] != F(0.75)


@pytest.mark.parametrize("gap", ["leaf", "subtree"])
@pytest.mark.parametrize("case", rules_first(STATEFUL), ids=str)
def test_a_none_gradient_skips_its_part(backend: Backend, case: Case, gap: str) -> None:
    tx = case.build()
    params = moved(a_tree(), backend)
    whole = moved(a_tree(), backend)
    state = settled(tx.update(whole, tx.init(params), params)[1], backend)  # slots are not zero any more
    part = {**whole, "a": {**whole["a"], "w": None} if gap == "leaf" else None}
    updates, after = tx.update(part, state, params)
    new = uniopt.apply_updates(params, updates)
    assert (updates["a"]["w"] if gap == "leaf" else updates["a"]) is None

    expected, expected_after = tx.update(whole, state, params)
    expected_new = uniopt.apply_updates(params, expected)

    def skipped(path: str) -> bool:
        return "['a']['w']" in path if gap == "leaf" else "['a']" in path

    checked = 0
    for before, got, full in ((params, new, expected_new), (state, after, expected_after)):
        columns = [leaves_of(tree, backend) for tree in (before, got, full)]
        assert columns[0].keys() == columns[1].keys()
        for path, x in columns[1].items():
            wanted = columns[0 if skipped(path) else 2][path]
            assert x.dtype == wanted.dtype
            assert x.tobytes() == wanted.tobytes(), path
            checked += skipped(path)
        changed = [
            path for path, x in columns[2].items() if skipped(path) and x.tobytes() != columns[0][path].tobytes()
        ]
        assert changed  # a gradient there would have moved it
    assert checked
    counts = [x for path, x in leaves_of(after, backend).items() if path.endswith(".count")]
    assert all(count == 2 for count in counts)


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_all_gradients_none(backend: Backend, case: Case) -> None:
    tx = case.build()
    params = moved(a_tree(), backend)
    state = tx.init(params)
    updates, after = tx.update({"a": {"w": None, "b": None}, "c": [None, None]}, state, params)
    assert uniopt.tree.leaves(updates) == []
    for path, x in leaves_of(uniopt.apply_updates(params, updates), backend).items():
        assert x.tobytes() == leaves_of(params, backend)[path].tobytes()
    for path, x in leaves_of(after, backend).items():
        expected = leaves_of(state, backend)[path] + (1 if path.endswith(".count") else 0)
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_none_parameters_are_empty_subtrees(backend: Backend, case: Case) -> None:
    tx = case.build()
    x = backend.from_numpy(np.asarray([1.0, 2.0], F))
    params = {"w": x, "unused": None}
    state = tx.init(params)
    updates, state = tx.update({"w": x, "unused": None}, state, params)
    new = uniopt.apply_updates(params, updates)
    assert new["unused"] is None
    alone, _ = tx.update({"w": x}, tx.init({"w": x}), {"w": x})
    np.testing.assert_array_equal(backend.to_numpy(updates["w"]), backend.to_numpy(alone["w"]))


@pytest.mark.parametrize("empty", [{}, [], (), {"a": {}, "b": [()]}], ids=repr)
@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_trees_without_leaves(case: Case, empty: Any) -> None:
    tx = case.build()
    updates, state = tx.update(empty, tx.init(empty), empty)
    assert updates == empty
    assert uniopt.apply_updates(empty, updates) == empty
    tx.update(empty, state, empty)


def test_a_tree_that_is_none() -> None:
    tx = uniopt.adam(0.1)
    updates, _ = tx.update(None, tx.init(None), None)
    assert updates is None
    assert uniopt.apply_updates(None, updates) is None


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_what_is_not_finite_stays_in_its_leaf(case: Case, bad: float) -> None:
    """An inf or NaN in one gradient reaches no other leaf, and no other element."""
    tx = case.build()
    params = {"sick": np.asarray([1.0, 2.0]), "well": np.asarray([3.0]), "scalar": np.asarray(4.0)}
    good = {"sick": np.asarray([1.0, 0.5]), "well": np.asarray([0.5]), "scalar": np.asarray(-1.0)}
    ill = {**good, "sick": np.asarray([bad, 0.5])}
    runs = []
    with np.errstate(invalid="ignore"):
        for first in (good, ill):
            updates, state = tx.update(first, tx.init(params), params)
            again, _ = tx.update(good, state, params)
            runs.append((updates, again))
    (updates, again), (ill_updates, ill_again) = runs
    for x, y in ((updates, ill_updates), (again, ill_again)):
        np.testing.assert_array_equal(x["well"], y["well"])
        np.testing.assert_array_equal(x["scalar"], y["scalar"])
        assert x["sick"][1] == y["sick"][1]
    if np.isnan(bad) or case.optimizer != "rmsprop" or case.settings.get("centered"):
        assert not np.isfinite(ill_updates["sick"][0])


def test_what_is_not_finite_stays_in_its_leaf_everywhere(backend: Backend) -> None:
    tx = uniopt.adamw(0.1)
    params = moved({"sick": np.asarray([1.0, 2.0], F), "well": np.asarray([3.0], F)}, backend)
    grads = moved({"sick": np.asarray([np.inf, np.nan], F), "well": np.asarray([0.5], F)}, backend)
    with np.errstate(invalid="ignore"):
        updates, _ = tx.update(grads, tx.init(params), params)
        found = host(updates, backend)
    assert np.isnan(found["sick"]).all()
    assert np.isfinite(found["well"]).all()


@pytest.mark.parametrize("case", rules_first(STATEFUL), ids=str)
def test_the_counter_saturates(backend: Backend, case: Case) -> None:
    """After 2**31 - 1 steps the count stays where it is, and the step stays finite."""
    tx = case.build()
    params = moved({"w": np.asarray([1.0, -1.0], F)}, backend)
    state = tx.init(params)
    top = backend.asarray(2**31 - 1, dtype=backend.xp.int32, like=params["w"])
    state = tuple(part._replace(count=top) if "count" in getattr(part, "_fields", ()) else part for part in state)
    updates, state = tx.update(params, state, params)
    for part in state:
        if "count" in getattr(part, "_fields", ()):
            assert int(backend.to_numpy(part.count)) == 2**31 - 1
    assert np.isfinite(host(updates, backend)["w"]).all()
