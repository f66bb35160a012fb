"""Reading a tree of known structure gives the leaves that flattening gives, or says that it is another structure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import uniopt
from uniopt import tree
from uniopt.reader import reader


class Pair(NamedTuple):
    first: Any
    second: Any


class Other(NamedTuple):
    first: Any
    second: Any


LEAVES = st.sampled_from([np.zeros(2), None, 1.0])
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abc") | st.integers(0, 2).map(str), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=8,
)


def same(found: list[Any], expected: list[Any]) -> bool:
    return len(found) == len(expected) and all(x is y for x, y in zip(found, expected, strict=True))


@given(TREES)
def test_leaves_are_those_of_flattening(given_tree: Any) -> None:
    leaves, structure = tree.flatten(given_tree)
    found = reader(structure)(given_tree)
    assert found is not None
    assert same(found, leaves)


@given(TREES, TREES)
def test_other_structures_are_not_read(known: Any, other: Any) -> None:
    _, structure = tree.flatten(known)
    leaves, found_structure = tree.flatten(other)
    found = reader(structure)(other)
    if found_structure == structure:
        assert found is not None
        assert same(found, leaves)
    else:  # something that is no leaf is easily seen by its type
        assert found is None or any(isinstance(x, dict | list | tuple) for x in found)


def test_order_of_keys_does_not_matter() -> None:
    _, structure = tree.flatten({"a": 1, "b": 2, "c": 3})
    assert reader(structure)({"c": 3, "a": 1, "b": 2}) == [1, 2, 3]


@pytest.mark.parametrize("other", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 2}, [1, 2], Pair(1, 2), 3])
def test_differences(other: Any) -> None:
    _, structure = tree.flatten({"a": 1, "b": 2})
    assert reader(structure)(other) is None


def test_named_tuples_are_told_apart() -> None:
    _, structure = tree.flatten(Pair(1, 2))
    assert reader(structure)(Pair(3, 4)) == [3, 4]
    assert reader(structure)(Other(3, 4)) is None
    assert reader(structure)((3, 4)) is None


def test_other_containers_are_left_to_flattening() -> None:
    ordered = OrderedDict(a=np.ones(2, dtype=np.float32))
    _, structure = tree.flatten(ordered)
    assert reader(structure)(ordered) is None
    step, tx = uniopt.compile(uniopt.sgd(0.5)), uniopt.sgd(0.5)
    for _ in range(3):
        ordered, _ = step(OrderedDict(a=np.ones(2, dtype=np.float32)), tx.init(ordered), ordered)
    assert ordered["a"].tolist() == [-0.5, -0.5]
