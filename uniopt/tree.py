"""Trees of arrays: flattening, rebuilding, mapping, and saying where two trees differ.

A tree is any nesting of dict, list, tuple, NamedTuple and dataclass; containers that were registered with JAX (flax
structs, equinox modules, nodes without leaves) are understood once JAX is loaded. ``None`` is kept as a leaf here,
because a gradient of ``None`` means "skip this part" to every transformation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from uniopt import traced_tree
from uniopt.backends import registry
from uniopt.backends.protocol import Node
from uniopt.errors import TreeStructureError
from uniopt.typing import Tree

if TYPE_CHECKING:
    from optree import PyTreeSpec

_NAMESPACE = "uniopt"  # optree keeps the containers adopted below apart from other users' under this name

# What is known of types already: asking the libraries takes time, and under torch.compile they cannot be asked.
_leaf_types: set[type] = {type(None), bool, int, float, complex, str}
_function_types: set[type] = {FunctionType}


def flatten(tree: Tree, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], PyTreeSpec]:
    """Return the leaves of a tree (``None`` included) and its structure.

    Parameters
    ----------
    tree
        The tree.
    is_leaf
        Tells which containers are to be leaves; by default none.
    """
    import optree  # loaded on first use, so that `import uniopt` stays fast

    if registry.code_is_traced():
        return traced_tree.flatten(tree, is_leaf, namespace=_NAMESPACE)  # type: ignore[return-value]  # does for one
    while True:
        leaves, structure = optree.tree_flatten(tree, is_leaf, none_is_leaf=True, namespace=_NAMESPACE)
        unknown = [leaf for leaf in leaves if type(leaf) not in _leaf_types]
        strangers = {type(leaf): leaf for leaf in unknown if is_leaf is None or not is_leaf(leaf)}
        adopted = [_adopt(leaf) for leaf in strangers.values()]
        if not any(adopted):
            return leaves, structure


def unflatten(structure: PyTreeSpec, leaves: Sequence[Any]) -> Tree:
    """Return the tree of that structure with those leaves."""
    return structure.unflatten(leaves)


def joined(structures: Sequence[PyTreeSpec]) -> PyTreeSpec:
    """Return the structure of a tuple of trees of these structures."""
    import optree

    return optree.treespec_tuple(structures, none_is_leaf=True, namespace=_NAMESPACE)


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of a tree, without the ``None`` ones."""
    return [leaf for leaf in flatten(tree)[0] if leaf is not None]


def map(f: Callable[..., Any], tree: Tree, *rest: Tree) -> Tree:
    """Return the tree of ``f(leaf, *leaves_of_rest)``; where `tree` has ``None``, so has the result.

    Parameters
    ----------
    f
        Called once for every leaf of `tree` that is not ``None``.
    tree, *rest
        Trees of the same structure.

    Raises
    ------
    TreeStructureError
        If one of `rest` has another structure, naming the path where it departs.
    """
    first, structure = flatten(tree)
    columns = [align(structure, other, tree) for other in rest]
    mapped = [None if leaf is None else f(leaf, *others) for leaf, *others in zip(first, *columns, strict=True)]
    return unflatten(structure, mapped)


def paths(structure: PyTreeSpec, root: str = "params") -> list[str]:
    """Return the path of each leaf as the expression that reaches it, such as ``params['layer'].w[0]``."""
    return [accessor.codify(root) for accessor in structure.accessors()]


def dotted_paths(structure: PyTreeSpec) -> list[str]:
    """Return the path of each leaf as its keys, attributes and indices with dots between them: ``layer.w.0``."""
    # Of a NamedTuple, the entry is an index and the field the name.
    return [
        ".".join(str(getattr(entry, "field", entry.entry)) for entry in accessor) for accessor in structure.accessors()
    ]


def leaves_with_paths(tree: Tree, root: str = "params") -> list[tuple[str, Any]]:
    """Return (path, leaf) for each leaf of the tree that is not ``None``."""
    found, structure = flatten(tree)
    return [(path, leaf) for path, leaf in zip(paths(structure, root), found, strict=True) if leaf is not None]


def is_function(value: Any) -> bool:
    """Return whether a value is a function of trees, and no container that can be called, as modules of equinox can."""
    if type(value) not in _function_types:
        # First of all, because torch.compile knows no callable() of a dict.
        if isinstance(value, (dict, list, tuple)) or not callable(value):
            return False
        if any(backend.node(value) is not None for backend in registry.loaded()):
            return False
        _function_types.add(type(value))
    return True


def align(
    structure: PyTreeSpec, tree: Tree, reference: Tree, *, names: tuple[str, str] = ("tree", "other tree")
) -> list[Any]:
    """Return what `tree` holds at each leaf of `structure`, which is that of `reference`.

    Where `reference` has ``None``, `tree` may have anything, a whole subtree included.
    """
    found, found_structure = flatten(tree)
    if found_structure != structure:
        check_structure(tree, reference, names=(names[1], names[0]))
        found = structure.flatten_up_to(tree)
    return found


def broadcast(prefix: Tree, tree: Tree, *, what: str) -> list[Any]:
    """Return, for each leaf of `tree`, the leaf of `prefix` that stands at or above it; None where `tree` has None."""
    values, structure = flatten_prefix(prefix, tree, what=what)
    parts = structure.flatten_up_to(tree)
    return [value for value, part in zip(values, parts, strict=True) for _ in flatten(part)[0]]


def flatten_prefix(prefix: Tree, tree: Tree, *, what: str) -> tuple[list[Any], PyTreeSpec]:
    """Return the leaves of a prefix of `tree`, and its structure.

    Where `tree` has ``None``, or a container without leaves, `prefix` may have anything; it is cut off there.

    Parameters
    ----------
    prefix, tree
        The two trees.
    what
        What the prefix is of the parameters, for the error.

    Raises
    ------
    TreeStructureError
        If it is no prefix, naming the path where it departs.
    """
    values, structure = flatten(prefix)
    flatten(tree)  # adopts its containers
    try:
        structure.flatten_up_to(tree)
    except ValueError:
        values, structure = flatten(_cut(prefix, tree, what, ""))
    return values, structure


def _cut(prefix: Tree, tree: Tree, what: str, path: str) -> Tree:
    """Return a prefix with None where the tree has nothing below."""
    below, spread = _children(tree), _children(prefix)
    if spread is None:
        return prefix
    if tree is None or not flatten(tree)[0]:
        return None
    if below is None or type(prefix) is not type(tree) or below.keys() != spread.keys():
        raise TreeStructureError(
            f"The {what} is no prefix of the parameters: at {what}{path} it has {_outline(prefix)}, where the "
            f"parameters have {_outline(tree)}. Give it one leaf for each parameter, or one for a whole subtree."
        )
    level = one_level(prefix)
    parts = [_cut(child, below[entry], what, path + entry) for entry, child in spread.items()]
    return level.unflatten_func(level.metadata, parts)


def one_level(node: Tree) -> Any:
    """Return a container taken apart by one level, as optree has it (children, entries ...), or None for a leaf."""
    flatten(node)  # adopts its containers
    return traced_tree.one_level(node, _NAMESPACE)


def check_structure(expected: Tree, found: Tree, *, names: tuple[str, str], path: str = "") -> None:
    """Raise TreeStructureError unless `found` is `expected` with ``None`` in place of some leaves or subtrees.

    Parameters
    ----------
    expected, found
        The two trees.
    names
        What to call them in the message.
    path
        Where in the trees the comparison stands.
    """
    if found is None:
        return
    wanted, got = _children(expected), _children(found)
    if (wanted is None) != (got is None) or (wanted is not None and type(expected) is not type(found)):
        raise TreeStructureError(
            f"The containers differ at {names[0]}{path}: {names[0]} has {_outline(expected)} there, "
            f"{names[1]} has {_outline(found)}. Give both trees the same containers."
        )
    if wanted is None or got is None:
        if expected is None:
            raise TreeStructureError(
                f"{names[1]} has a leaf at {names[1]}{path} ({_outline(found)}), where {names[0]} has None. "
                "Pass None there as well."
            )
        return
    missing = [f"{names[1]}{path}{entry}" for entry in wanted if entry not in got]
    extra = [f"{names[1]}{path}{entry}" for entry in got if entry not in wanted]
    if missing or extra:
        raise TreeStructureError(
            f"{names[0]} and {names[1]} have different leaves."
            + (f" Missing: {', '.join(missing)}." if missing else "")
            + (f" Not in {names[0]}: {', '.join(extra)}." if extra else "")
            + f" Expected {names[1]}{path} with the entries {', '.join(wanted) or 'none'}, "
            f"found {', '.join(got) or 'none'}. "
            "Give both the same leaves (a gradient of None skips its part)."
        )
    for entry, child in wanted.items():
        check_structure(child, got[entry], names=names, path=path + entry)


def _children(node: Tree) -> dict[str, Tree] | None:
    """Return the children of a container by the code that reaches them, or None for a leaf."""
    level = one_level(node)
    if level is None:
        return None
    entries = [level.path_entry_type(entry, level.type, level.kind).codify("") for entry in level.entries]
    return dict(zip(entries, level.children, strict=True))


def _outline(node: Tree) -> str:
    kind = type(node).__name__
    if (shape := getattr(node, "shape", None)) is not None:
        return f"a {kind} of shape {tuple(shape)}"
    if children := _children(node):
        return f"a {kind} with {', '.join(children)}"
    return f"a {kind}"


def _adopt(leaf: Any) -> bool:
    """Return whether what optree took for a leaf is a container after all, and make it known to optree if so."""
    import optree

    cls = type(leaf)
    if registry.find(cls) is not None:
        _leaf_types.add(cls)
        return False
    node = next((node for backend in registry.loaded() if (node := backend.node(leaf)) is not None), None)
    if node is None and dataclasses.is_dataclass(cls):
        node = _DATACLASS
    if node is None:
        return False
    entry = optree.GetAttrEntry if node.by_attribute else optree.GetItemEntry
    optree.register_pytree_node(cls, node.flatten, node.unflatten, path_entry_type=entry, namespace=_NAMESPACE)
    return True


def _flatten_dataclass(obj: Any) -> tuple[list[Any], Any, tuple[str, ...]]:
    names = tuple(field.name for field in dataclasses.fields(obj))
    return [getattr(obj, name) for name in names], (type(obj), names), names


def _unflatten_dataclass(metadata: Any, children: Iterable[Any]) -> Any:
    # The tree may hold anything while it is being mapped, so the class's own checks do not run.
    cls, names = metadata
    obj = object.__new__(cls)
    for name, child in zip(names, children, strict=True):
        object.__setattr__(obj, name, child)
    return obj


_DATACLASS = Node(_flatten_dataclass, _unflatten_dataclass, by_attribute=True)
