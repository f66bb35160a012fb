"""Containers that are registered with JAX: what they consist of, and how they are put together again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.conftest import require


@jax.tree_util.register_dataclass
@dataclass
class Layer:
    w: Any
    b: Any


class Pair:
    """A container that is registered with keys of a kind of its own, or with none."""

    def __init__(self, first: Any, second: Any, name: str = "") -> None:
        self.parts = (first, second)
        self.name = name


@dataclass(frozen=True)
class Corner:
    where: str

    def __str__(self) -> str:
        return f"<{self.where}>"


def registered(keys: tuple[Any, Any] | None) -> type[Pair]:
    cls = type("Registered", (Pair,), {})

    def make(name: str, parts: Any) -> Pair:
        return cls(*parts, name)

    if keys is None:
        jax.tree_util.register_pytree_node(cls, lambda x: (x.parts, x.name), make)
    else:
        jax.tree_util.register_pytree_with_keys(cls, lambda x: (tuple(zip(keys, x.parts, strict=True)), x.name), make)
    return cls


@jax.tree_util.register_dataclass
@dataclass
class Single:
    only: Any


def kinds() -> Iterator[tuple[Any, list[Any], bool]]:
    """Yield a container, the names of its entries, and whether these are attributes."""
    key = jax.tree_util
    yield Layer([1.0], {"a": 2.0}), ["w", "b"], True
    for keys, names in (
        ((key.GetAttrKey("left"), key.GetAttrKey("right")), ["left", "right"]),
        ((key.DictKey("x"), key.DictKey(3)), ["x", 3]),
        ((key.SequenceKey(0), key.SequenceKey(1)), [0, 1]),
        ((Corner("a"), Corner("b")), ["<a>", "<b>"]),
        (None, [0, 1]),
    ):
        yield registered(keys)([1.0], {"a": 2.0}, "kept"), names, names[0] == "left"


@pytest.mark.parametrize("kind", range(6))
def test_registered_containers(kind: int) -> None:
    container, names, by_attribute = list(kinds())[kind]
    node = require("jax").node(container)
    assert node is not None
    assert node.by_attribute == by_attribute
    children, metadata, entries = node.flatten(container)
    assert list(children) == [[1.0], {"a": 2.0}]
    assert list(entries) == names
    rebuilt = node.unflatten(metadata, ["first", ("second",)])
    assert type(rebuilt) is type(container)
    assert ([rebuilt.w, rebuilt.b] if isinstance(rebuilt, Layer) else list(rebuilt.parts)) == ["first", ("second",)]
    assert getattr(rebuilt, "name", "kept") == "kept"


def test_a_container_of_one_thing_is_one() -> None:
    node = require("jax").node(Single(1.0))
    assert node is not None
    assert node.by_attribute
    children, metadata, entries = node.flatten(Single(1.0))
    assert (list(children), list(entries)) == ([1.0], ["only"])
    assert node.unflatten(metadata, [2.0]) == Single(2.0)


def test_what_is_no_container_and_what_is_an_empty_one() -> None:
    backend = require("jax")
    for leaf in (jnp.ones(2), "text", 1.0, object()):
        assert backend.node(leaf) is None
    empty = backend.node(())
    assert empty is not None
    assert not empty.by_attribute
    children, metadata, entries = empty.flatten(())
    assert (list(children), list(entries)) == ([], [])
    assert empty.unflatten(metadata, []) == ()
