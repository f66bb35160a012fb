"""What stands for optree while torch.compile reads the code does as optree does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.properties.test_containers import CONTAINERS, Layer, skeleton
from uniopt import traced_tree, tree

TREES = {
    **{name: make(1.0, 2.0) for name, make in CONTAINERS.items()},
    "keys that do not compare": {"z": 1.0, 3: [None], None: ()},
    "other fields": CONTAINERS["dict"]([1.0], {"w": 2.0}),
    "a leaf": 1.0,
    "none": None,
}


def flattened(values: Any, is_leaf: Any = None) -> tuple[list[Any], traced_tree.Structure]:
    return traced_tree.flatten(values, is_leaf, namespace=tree._NAMESPACE)


@pytest.mark.parametrize("values", TREES.values(), ids=TREES)
def test_taken_apart_and_put_together(values: Any) -> None:
    expected, theirs = tree.flatten(values)
    leaves, ours = flattened(values)
    assert leaves == expected
    assert ours.accessors() == theirs.accessors()
    assert tree.paths(ours) == tree.paths(theirs)
    assert tree.dotted_paths(ours) == tree.dotted_paths(theirs)
    numbers = list(range(len(leaves)))
    assert skeleton(tree.unflatten(ours, numbers)) == skeleton(tree.unflatten(theirs, numbers))
    assert tree.flatten(tree.unflatten(ours, numbers))[0] == numbers


@pytest.mark.parametrize("values", TREES.values(), ids=TREES)
def test_compared_with_other_trees(values: Any) -> None:
    _, theirs = tree.flatten(values)
    _, ours = flattened(values)
    for other in TREES.values():
        assert (ours == flattened(other)[1]) == (theirs == tree.flatten(other)[1])
        try:
            expected = theirs.flatten_up_to(other)
        except ValueError:
            with pytest.raises(ValueError, match="Expected a"):
                ours.flatten_up_to(other)
        else:
            assert ours.flatten_up_to(other) == expected


def test_containers_that_are_leaves() -> None:
    values = {"a": [1.0, Layer(2.0, 3.0)], "b": Layer(4.0, None)}

    def is_leaf(x: Any) -> bool:
        return isinstance(x, Layer)

    expected, theirs = tree.flatten(values, is_leaf)
    leaves, ours = flattened(values, is_leaf)
    assert leaves == expected == [1.0, values["a"][1], values["b"]]
    assert tree.paths(ours) == tree.paths(theirs)
