"""The steps of a path through a tree: what a container calls its children.

Classes, fields and text are those of `jax.tree_util` (and of optax, for NamedTuples), so that what reads such paths
reads these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from uniopt import tree
from uniopt.typing import Tree

if TYPE_CHECKING:
    from optree import PyTreeSpec


class Key:
    """One step of a path; equal to JAX's of the same name and fields too."""

    def __eq__(self, other: object) -> bool:
        names = self.__dataclass_fields__  # type: ignore[attr-defined]  # every subclass is a dataclass
        return type(self).__name__ == type(other).__name__ and all(
            getattr(self, name) == getattr(other, name) for name in names
        )

    def __hash__(self) -> int:
        return hash(astuple(self))  # type: ignore[call-overload]  # every subclass is a dataclass


@dataclass(frozen=True, eq=False)
class DictKey(Key):
    """The child of a dict, or of another container with keys."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclass(frozen=True, eq=False)
class SequenceKey(Key):
    """The child of a list or a tuple."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


@dataclass(frozen=True, eq=False)
class GetAttrKey(Key):
    """The child of a container with attributes, such as a dataclass."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclass(frozen=True, eq=False)
class NamedTupleKey(Key):
    """The field of a NamedTuple in a path of `tree_get_all_with_path`.

    Attributes
    ----------
    tuple_name
        Name of the NamedTuple's class, such as ``"ScaleByAdamState"``.
    name
        Name of the field.
    """

    tuple_name: str
    name: str

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


def children(node: Tree) -> list[tuple[Key, Tree]]:
    """Return the children of a container with their keys; none for a leaf."""
    level = tree.one_level(node)
    if level is None:
        return []
    return [
        (_key(type(node), level.path_entry_type, x), child)
        for x, child in zip(level.entries, level.children, strict=True)
    ]


def paths(structure: PyTreeSpec) -> list[tuple[Key, ...]]:
    """Return the path to each leaf of a structure of ``uniopt.tree.flatten``."""
    return [tuple(_key(x.type, type(x), x.entry) for x in accessor) for accessor in structure.accessors()]


def slot(path: tuple[Key, ...]) -> tuple[Key, ...]:
    """Return the part of a path down to the last field of a NamedTuple; the empty one where there is none."""
    fields = [i for i, step in enumerate(path) if isinstance(step, NamedTupleKey)]
    return path[: fields[-1] + 1] if fields else ()


def written(path: Iterable[Key]) -> str:
    """Return a path as text, as `jax.tree_util.keystr` writes it."""
    return "".join(map(str, path))


def _key(container: type[Any], kind: type[Any], entry: Any) -> Key:
    import optree

    if issubclass(kind, optree.NamedTupleEntry):
        return NamedTupleKey(container.__name__, container._fields[entry])
    if issubclass(kind, optree.GetAttrEntry):
        return GetAttrKey(entry)
    return SequenceKey(entry) if issubclass(kind, optree.SequenceEntry) else DictKey(entry)
