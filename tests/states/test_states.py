"""Values in states are found, set and mapped by name, on every library's arrays and through every container."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from uniopt import errors
from uniopt.keys import DictKey, GetAttrKey, SequenceKey


class Inner(NamedTuple):
    count: Any
    rest: Any


class Empty(NamedTuple):
    pass


@dataclasses.dataclass
class Box:
    count: Any
    x: Any


NESTED = {"a": [Inner(1, {"count": 2}), None], "b": Box(3, Inner(None, (Empty(), Inner(4, ()))))}


def texts(found: list[Any]) -> list[tuple[str, Any]]:
    return [("".join(map(str, path)), value) for path, value in found]


def test_everything_of_a_name_is_found_outermost_first() -> None:
    found = texts(uniopt.tree_get_all_with_path(NESTED, "count"))
    assert found == [
        ("['a'][0]Inner.count", 1),
        ("['b'].xInner.count", None),
        ("['a'][0]Inner.rest['count']", 2),
        ("['b'].xInner.rest[1]Inner.count", 4),
    ]
    assert texts(uniopt.tree_get_all_with_path(NESTED, "Empty")) == [("['b'].xInner.rest[0]", Empty())]
    assert [path for path, _ in texts(uniopt.tree_get_all_with_path(NESTED, "Inner"))] == [
        "['a'][0]", "['b'].x", "['b'].xInner.rest[1]",
    ]  # fmt: skip
    assert uniopt.tree_get_all_with_path(NESTED, "x") == []  # an attribute is no name, as with optax
    path, _ = uniopt.tree_get_all_with_path(NESTED, "count")[1]
    assert path == (DictKey("b"), GetAttrKey("x"), uniopt.NamedTupleKey("Inner", "count"))


def test_filters_see_path_and_value() -> None:
    def in_a_dict(path: Any, value: Any) -> bool:
        return isinstance(path[-1], DictKey) and value == 2

    assert uniopt.tree_get(NESTED, "count", filtering=in_a_dict) == 2
    assert uniopt.tree_get(NESTED, "nothing") is None
    assert uniopt.tree_get(NESTED, "nothing", default=5) == 5
    changed = uniopt.tree_set(NESTED, in_a_dict, count=9)
    assert [value for _, value in uniopt.tree_get_all_with_path(changed, "count")] == [1, None, 9, 4]


def test_all_that_is_found_is_set_and_nothing_else() -> None:
    changed = uniopt.tree_set(NESTED, count=7, Empty="gone")
    assert changed == {"a": [Inner(7, {"count": 7}), None], "b": Box(3, Inner(7, ("gone", Inner(7, ()))))}
    assert NESTED["a"][0].count == 1
    ordered = OrderedDict(b=1, a=Inner(1, 2))
    assert uniopt.tree_set(ordered, rest=0) == OrderedDict(b=1, a=Inner(1, 0))
    assert list(uniopt.tree_set(ordered, rest=0)) == ["b", "a"]


def test_the_outer_one_is_set() -> None:
    assert uniopt.tree_set({"a": {"a": 1}}, a=2) == {"a": 2}
    assert uniopt.tree_set({"a": {"a": 1}}, lambda path, x: x == 1, a=2) == {"a": {"a": 2}}


def test_errors_say_what_there_is() -> None:
    with pytest.raises(errors.StateKeyError, match=r"'count' is found 4 times, at \['a'\]\[0\]Inner.count, ") as raised:
        uniopt.tree_get(NESTED, "count")
    assert isinstance(raised.value, KeyError)
    with pytest.raises(KeyError, match="Found no 'cont' in the tree, expected one of its names: Empty, Inner, a, b"):
        uniopt.tree_set(NESTED, cont=1)
    with pytest.raises(KeyError, match="for which the filtering is true"):
        uniopt.tree_set(NESTED, lambda path, value: False, count=1)
    with pytest.raises(KeyError, match="no names"):
        uniopt.tree_set((), cont=1)
    tx = uniopt.adam(0.1)
    with pytest.raises(errors.StateError, match="not one of this transformation"):
        uniopt.tree_map_params(tx, lambda x: x, uniopt.sgd(0.1).init(np.ones(2)))
    with pytest.raises(errors.TreeStructureError, match="not like the parameters"):
        uniopt.tree_map_params(tx, lambda x, y: y, tx.init({"w": np.ones(2)}), {"b": 1})


def test_states_of_every_library(backend: Backend) -> None:
    params = {
        "w": backend.from_numpy(np.ones((2, 3), np.float32)),
        "b": [backend.from_numpy(np.ones(3, np.float32)), None],
    }
    tx = uniopt.chain(uniopt.masked(uniopt.adam(0.1), {"w": True, "b": [False, False]}), uniopt.trace(0.9))
    state = tx.init(params)
    _, state = tx.update(params, state, params)
    assert int(backend.to_numpy(uniopt.tree_get(state, "count"))) == 1
    ((_, mu),) = uniopt.tree_get_all_with_path(state, "mu")
    assert mu["b"] == [uniopt.MaskedNode(), uniopt.MaskedNode()]
    zeros = uniopt.tree_map_params(tx, lambda x: 0 * x, state)
    assert not any(
        backend.to_numpy(x).any()
        for name in ("mu", "nu", "trace")
        for x in uniopt.tree.leaves(uniopt.tree_get(zeros, name))
    )
    assert int(backend.to_numpy(uniopt.tree_get(zeros, "count"))) == 1
    set_ = uniopt.tree_set(state, count=backend.asarray(5, dtype=backend.xp.int32))
    _, after = tx.update(params, set_, params)
    assert int(backend.to_numpy(uniopt.tree_get(after, "count"))) == 6


def test_masked_parts_have_no_parameters_to_map() -> None:
    """With MaskedNode and None in a slot, the other trees may have anything there; is_leaf hands the nodes out."""
    params = {"w": np.ones(2), "b": np.ones(3), "n": None}
    tx = uniopt.partition(
        {"a": uniopt.adam(0.1), "b": uniopt.master_weights(uniopt.sgd(0.1, momentum=0.9))},
        {"w": "a", "b": "b", "n": "b"},
    )
    axes = {"w": "rows", "b": "none", "n": {"x": "y"}}
    mapped = uniopt.tree_map_params(
        tx, lambda x, axis: axis, tx.init(params), axes, transform_non_params=lambda x: "count"
    )
    assert uniopt.tree_get(mapped, "mu") == {"w": "rows", "b": uniopt.MaskedNode(), "n": uniopt.MaskedNode()}
    assert uniopt.tree_get(mapped, "trace") == {"w": uniopt.MaskedNode(), "b": "none", "n": None}
    assert uniopt.tree_get(mapped, "count") == "count"

    def is_masked(node: Any) -> bool:
        return isinstance(node, uniopt.MaskedNode)

    marked = uniopt.tree_map_params(
        tx, lambda x, axis: "masked" if is_masked(x) else axis, tx.init(params), axes, is_leaf=is_masked
    )
    assert uniopt.tree_get(marked, "mu") == {"w": "rows", "b": "masked", "n": "masked"}


def test_results_of_none_are_kept() -> None:
    tx = uniopt.adam(uniopt.linear_schedule(1e-2, 1e-4, 10))
    state = uniopt.tree_map_params(tx, lambda x: None, tx.init({"a": np.zeros(2)}), transform_non_params=lambda x: None)
    assert state == (uniopt.ScaleByAdamState(None, {"a": None}, {"a": None}), uniopt.ScaleByScheduleState(None))
    assert uniopt.tree_map_params(tx.init, lambda x: 1, tx.init(np.zeros(2)))[0].mu == 1


def test_under_jit() -> None:
    import jax
    import jax.numpy as jnp

    tx = uniopt.adam(0.1)
    state = tx.init(jnp.ones(2))

    @jax.jit
    def doubled(state: Any) -> Any:
        return uniopt.tree_set(state, count=2 * uniopt.tree_get(state, "count") + 4)

    assert int(uniopt.tree_get(doubled(state), "count")) == 4


def test_keys_are_equal_to_those_of_jax() -> None:
    from jax import tree_util

    pairs = [
        (DictKey("a"), tree_util.DictKey("a")),
        (SequenceKey(1), tree_util.SequenceKey(1)),
        (GetAttrKey("x"), tree_util.GetAttrKey("x")),
    ]
    for i, (ours, theirs) in enumerate(pairs):
        assert ours == theirs
        assert str(ours) == str(theirs)
        assert all(ours != other for k, (_, other) in enumerate(pairs) if k != i)
    assert DictKey("a") != DictKey("b")
    assert {uniopt.NamedTupleKey("A", "b"): 1}[uniopt.NamedTupleKey("A", "b")] == 1
    assert tree_util.keystr((DictKey("a"), SequenceKey(0))) == "['a'][0]"
