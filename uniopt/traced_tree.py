"""Trees while torch.compile reads the code, which cannot look into optree: its C++, in Python.

torch brings a replacement of its own. For a dict of constants, which masks and labels are, that calls the real optree,
and torch can make nothing of what it returns.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from uniopt.typing import Tree

_DICTS = (dict, OrderedDict, defaultdict)  # one stands for another where a tree is read by the structure of a second


class Level(NamedTuple):
    """A container taken apart by one level, with the names that optree has for what it consists of."""

    children: Sequence[Tree]
    metadata: Any
    entries: tuple[Any, ...]
    unflatten_func: Callable[[Any, Iterable[Tree]], Tree]
    type: type
    kind: Any
    path_entry_type: Any


def one_level(node: Tree, namespace: str) -> Any:
    """Return a container taken apart by one level, or None for a leaf."""
    import optree

    if optree.tree_is_leaf(node, none_is_leaf=True, namespace=namespace):
        return None
    if type(node) not in (dict, defaultdict):
        return optree.tree_flatten_one_level(node, none_is_leaf=True, namespace=namespace)
    keys = tuple(optree.utils.total_order_sorted(node))
    kind = optree.PyTreeKind.DICT if type(node) is dict else optree.PyTreeKind.DEFAULTDICT
    return Level([node[key] for key in keys], keys, keys, partial(_like, node), type(node), kind, optree.MappingEntry)


def _like(node: dict[Any, Tree], keys: tuple[Any, ...], children: Iterable[Tree]) -> dict[Any, Tree]:
    made = {**dict.fromkeys(node), **dict(zip(keys, children, strict=True))}  # in its order
    return defaultdict(node.default_factory, made) if isinstance(node, defaultdict) else made


def flatten(tree: Tree, is_leaf: Callable[[Any], bool] | None, *, namespace: str) -> tuple[list[Any], Structure]:
    """Return the leaves of a tree (``None`` included) and its structure."""
    leaves: list[Any] = []

    def walk(node: Tree) -> Structure:
        level = None if is_leaf is not None and is_leaf(node) else one_level(node, namespace)
        if level is None:
            leaves.append(node)
            return Structure(None, (), namespace)
        return Structure(level, tuple([walk(child) for child in level.children]), namespace)

    structure = walk(tree)
    return leaves, structure


@dataclass(frozen=True, eq=False)
class Structure:
    """The containers of a tree; has what uniopt uses of optree's PyTreeSpec.

    Attributes
    ----------
    level
        The outermost container; None for a leaf.
    parts
        The structures of its children.
    namespace
        The name under which optree keeps the containers that it was told of.
    """

    level: Any
    parts: tuple[Structure, ...]
    namespace: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        mine, others = self.level, other.level
        if mine is None or others is None:
            return mine is others
        alike = mine.type is others.type and mine.entries == others.entries and mine.metadata == others.metadata
        return bool(alike and self.parts == other.parts)

    __hash__ = None  # type: ignore[assignment]  # metadata may have none

    def unflatten(self, leaves: Iterable[Any]) -> Tree:
        """Return the tree of this structure with those leaves."""
        return self._take(iter(leaves))

    def _take(self, leaves: Iterator[Any]) -> Tree:
        if self.level is None:
            return next(leaves)
        return self.level.unflatten_func(self.level.metadata, [part._take(leaves) for part in self.parts])

    def flatten_up_to(self, tree: Tree) -> list[Tree]:
        """Return what a tree has at each leaf of this structure; ValueError where it has other containers."""
        if self.level is None:
            return [tree]
        mine, found = self.level, one_level(tree, self.namespace)
        children = None if found is None else self._children_of(found)
        if children is None or len(children) != len(self.parts):
            raise ValueError(f"Expected a {mine.type.__name__} of {len(self.parts)}, found a {type(tree).__name__}.")
        return [x for part, child in zip(self.parts, children, strict=True) for x in part.flatten_up_to(child)]

    def _children_of(self, found: Any) -> Sequence[Tree] | None:
        """Return the children of another container in the order of this one; None where it is of another kind."""
        mine = self.level
        if mine.type in _DICTS and found.type in _DICTS:
            named = dict(zip(found.entries, found.children, strict=True))
            return [named[key] for key in mine.entries] if set(named) == set(mine.entries) else None
        return found.children if found.type is mine.type and found.metadata == mine.metadata else None

    def accessors(self) -> list[Any]:
        """Return the way to each leaf, as optree has it."""
        import optree

        return [optree.PyTreeAccessor(way) for way in self._ways()]

    def _ways(self) -> list[tuple[Any, ...]]:
        if self.level is None:
            return [()]
        level = self.level
        steps = [level.path_entry_type(entry, level.type, level.kind) for entry in level.entries]
        return [(step, *way) for step, part in zip(steps, self.parts, strict=True) for way in part._ways()]
