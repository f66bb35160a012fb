"""Taking apart trees whose structure is known already: many times as fast as finding out what it is."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from uniopt.typing import Tree

if TYPE_CHECKING:
    from optree import PyTreeSpec


def reader(structure: PyTreeSpec) -> Callable[[Tree], list[Any] | None]:
    """Return a function that returns the leaves of a tree, in the order of ``uniopt.tree.flatten``.

    For a tree of another structure it returns None, or a list in which something else than a leaf stands in the place
    of one. Structures with other containers than dict, list, tuple and NamedTuple are not read at all.
    """
    return _Reader().compiled(structure)


class _UnreadableError(Exception):
    """A container that only general flattening knows."""


class _Reader:
    """The text of a reading function under way."""

    def __init__(self) -> None:
        self._checks: list[str] = []
        self._objects: dict[str, Any] = {}

    def compiled(self, structure: PyTreeSpec) -> Callable[[Tree], list[Any] | None]:
        try:
            leaves = self._read(structure, "tree")
        except _UnreadableError:
            return _unread
        lines = "".join(f"        {line}\n" for line in self._checks)
        # A dict without one of the keys, and what is no container at all, have another structure.
        body = f"    try:\n{lines}        return [{leaves}]\n    except LookupError:\n        return None\n"
        exec(compile(f"def read(tree):\n{body}", "<reader>", "exec"), self._objects)
        read: Callable[[Tree], list[Any] | None] = self._objects["read"]
        return read

    def _read(self, node: PyTreeSpec, name: str) -> str:
        """Check the containers of a node that is called `name`; return the elements of a list that has its leaves."""
        kind = node.kind.name
        if kind == "LEAF":
            return f"{name},"
        if kind not in ("DICT", "LIST", "TUPLE", "NAMEDTUPLE"):
            raise _UnreadableError
        children = node.children()
        self._checks.append(f"if type({name}) is not {self._object(node.type)} or len({name}) != {len(children)}:")
        self._checks.append("    return None")
        if not children:
            return ""
        values = name
        if kind == "DICT":
            values = f"{self._object(itemgetter(*node.entries()))}({name})"
            values = values if len(children) > 1 else f"({values},)"
        if all(child.kind.name == "LEAF" for child in children):
            return f"*{values},"
        names = [f"x{len(self._checks)}_{i}" for i in range(len(children))]
        self._checks.append(f"{', '.join(names)}, = {values}")
        return " ".join(self._read(child, x) for child, x in zip(children, names, strict=True))

    def _object(self, x: Any) -> str:
        self._objects[f"c{len(self._objects)}"] = x
        return f"c{len(self._objects) - 1}"


def _unread(tree: Tree) -> None:
    """Read nothing."""
