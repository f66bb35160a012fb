"""Finding, setting and mapping what states hold, whatever they are nested in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from uniopt import tree as trees
from uniopt.errors import StateError, StateKeyError, TreeStructureError
from uniopt.keys import DictKey, Key, NamedTupleKey, children, written
from uniopt.typing import Tree

Path: TypeAlias = tuple[Key, ...]
Filter: TypeAlias = Callable[[Path, Any], bool]


class Params(NamedTuple):
    """Stands for parameters where a state is made only to see what in it follows them; a container without leaves."""


def tree_get_all_with_path(tree: Tree, key: Any, filtering: Filter | None = None) -> list[tuple[Path, Any]]:
    """Return every value of a tree that has a name, with the path to it.

    Parameters
    ----------
    tree
        A state, or any tree.
    key
        A key of a dict, a field of a NamedTuple, or the name of a NamedTuple's class.
    filtering
        ``filtering(path, value)`` tells whether to keep a value.

    Returns
    -------
    list of tuple
        Pairs (path, value). A path is a tuple of keys with the names and fields of JAX's: ``DictKey(key)``,
        ``SequenceKey(idx)``, ``GetAttrKey(name)``, and `NamedTupleKey` for the field of a NamedTuple.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> state = uniopt.sgd(0.1, momentum=0.9).init({"w": np.zeros(2)})
    >>> uniopt.tree_get_all_with_path(state, "w")
    [((SequenceKey(idx=0), NamedTupleKey(tuple_name='TraceState', name='trace'), DictKey(key='w')), array([0., 0.]))]
    """
    found = _matches((), tree, key)
    return found if filtering is None else [(path, value) for path, value in found if filtering(path, value)]


def tree_get(tree: Tree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """Return the one value of a tree that has a name.

    Parameters
    ----------
    tree, key, filtering
        As in `tree_get_all_with_path`.
    default
        Returned where there is none.

    Raises
    ------
    StateKeyError
        If there are several; the message has their paths.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> state = uniopt.adam(1e-3).init(np.zeros(2))
    >>> uniopt.tree_get(state, "count")
    array(0, dtype=int32)
    """
    found = tree_get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        places = ", ".join(written(path) for path, _ in found)
        raise StateKeyError(
            f"{key!r} is found {len(found)} times, at {places}. Pass a filtering that is true for one of them, or call "
            "tree_get_all_with_path."
        )
    return found[0][1] if found else default


def tree_set(tree: Tree, filtering: Filter | None = None, /, **kwargs: Any) -> Tree:
    """Return the tree with other values under some names.

    Parameters
    ----------
    tree
        A state, or any tree; it stays as it is.
    filtering
        ``filtering(path, value)`` tells whether to replace a value.
    **kwargs
        The new values by their names, which are those of `tree_get_all_with_path`.

    Raises
    ------
    StateKeyError
        If a name is not found. It is a KeyError too.

    Notes
    -----
    All values that `tree_get_all_with_path` finds are replaced; where one is within another, the outer one. optax 0.2.8
    overlooks those that are in a tuple or list beside a match, such as the ``count`` of an optimizer within
    ``inject_hyperparams``, whose state has a ``count`` too.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> state = uniopt.adam(1e-3).init(np.zeros(2))
    >>> uniopt.tree_set(state, count=np.asarray(10, np.int32))[0].count
    array(10, dtype=int32)
    """
    for key in kwargs:
        if not tree_get_all_with_path(tree, key, filtering):
            chosen = "" if filtering is None else " for which the filtering is true"
            names = ", ".join(sorted(_names(tree))) or "no names"
            raise StateKeyError(f"Found no {key!r} in the tree{chosen}, expected one of its names: {names}.")
    return _replaced((), tree, filtering, kwargs)


def tree_map_params(
    initable: Any,
    f: Callable[..., Any],
    state: Tree,
    /,
    *rest: Tree,
    transform_non_params: Callable[..., Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Tree:
    """Map a function over what in a state follows the parameters: moments, averages, copies.

    For shardings, casts and averages of states without knowing their classes.

    Parameters
    ----------
    initable
        The transformation that made the state, or its ``init``.
    f
        ``f(leaf, *leaves_of_rest)`` is called for every leaf that stands where the parameters' do.
    state
        The state.
    *rest
        Trees like the parameters.
    transform_non_params
        Called for every other leaf, such as counts; by default those stay.
    is_leaf
        ``is_leaf(node)`` tells what is to be a leaf for `f`.

    Raises
    ------
    StateError
        If the state is one of another transformation.
    TreeStructureError
        If one of `rest` is not like the parameters.

    Notes
    -----
    As in optax; but where a part of the state stands for no parameter (`MaskedNode`, or ``None``), it stays, and `rest`
    may have anything. optax asks for an `is_leaf` there. For ``optax.masked`` with a mask that is a tree, call optax's
    own, which it knows.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adam(1e-3)
    >>> state = tx.init({"w": np.zeros(2), "b": np.zeros(())})
    >>> axes = {"w": "rows", "b": "none"}
    >>> uniopt.tree_map_params(tx, lambda x, axis: axis, state, axes, transform_non_params=lambda x: "none")[0]
    ScaleByAdamState(count='none', mu={'w': 'rows', 'b': 'none'}, nu={'w': 'rows', 'b': 'none'})
    """
    marked, structure = trees.flatten(getattr(initable, "init", initable)(Params()), is_leaf=_stands_for_params)
    trees.flatten(state)  # makes its containers known
    try:
        values = structure.flatten_up_to(state)
    except ValueError as error:
        raise StateError(f"The state is not one of this transformation: {error} Pass what its init returned.") from None
    other = transform_non_params or (lambda x: x)
    results = []
    for mark, value in zip(marked, values, strict=True):
        if _stands_for_params(mark):
            results.append(_mapped(f, value, rest, is_leaf))
        else:
            results.append(None if value is None else other(value))
    return trees.unflatten(structure, results)


def _matches(path: Path, node: Tree, key: Any) -> list[tuple[Path, Any]]:
    """Return what has the name: first in the outermost containers that know it, then below each of those."""
    outermost = list(_outermost(path, node, key))
    found = [_named(where, x)[key] for where, x in outermost]
    for where, x in outermost:
        for step, child in children(x):
            found += _matches((*where, step), child, key)
    return found


def _outermost(path: Path, node: Tree, key: Any) -> Iterator[tuple[Path, Tree]]:
    """Yield the containers that know the name, and are within no other one that does."""
    if key in _named(path, node):
        yield path, node
        return
    for step, child in children(node):
        yield from _outermost((*path, step), child, key)


def _names(node: Tree) -> set[str]:
    """Return every name in a tree."""
    return {str(name) for name in _named((), node)}.union(*(_names(child) for _, child in children(node)))


def _named(path: Path, node: Tree) -> dict[Any, tuple[Path, Any]]:
    """Return what a container has by name: the children of a dict or NamedTuple, and a NamedTuple itself."""
    found = {}
    for step, child in children(node):
        if isinstance(step, DictKey | NamedTupleKey):
            found[step.key if isinstance(step, DictKey) else step.name] = ((*path, step), child)
    return found | ({type(node).__name__: (path, node)} if hasattr(type(node), "_fields") else {})


def _replaced(path: Path, node: Tree, filtering: Filter | None, values: dict[str, Any]) -> Tree:
    """Return a container with what is named in it replaced, here and below."""
    level = trees.one_level(node)
    if level is None:
        return node
    named = {
        where: values[name]
        for name, (where, x) in _named(path, node).items()
        if name in values and (filtering is None or filtering(where, x))
    }
    if path in named:
        return named[path]
    places = [((*path, step), child) for step, child in children(node)]
    parts = [named[where] if where in named else _replaced(where, x, filtering, values) for where, x in places]
    return level.unflatten_func(level.metadata, parts)


def _mapped(f: Callable[..., Any], slot: Tree, rest: Sequence[Tree], is_leaf: Callable[[Any], bool] | None) -> Tree:
    """Return a slot with `f` of what stands at each parameter."""

    def stops(node: Any) -> bool:
        return _is_empty(node) or (is_leaf is not None and is_leaf(node))

    found, structure = trees.flatten(slot, stops)
    columns = []
    for other in rest:
        trees.flatten(other)  # makes its containers known
        try:
            columns.append(structure.flatten_up_to(other))
        except ValueError as error:
            raise TreeStructureError(
                f"A tree that was given to tree_map_params is not like the parameters in the state: {error} "
                "Give it the containers of the parameters."
            ) from None
    kept = [x is None or (_is_empty(x) and not (is_leaf is not None and is_leaf(x))) for x in found]
    mapped = [x if keep else f(x, *others) for keep, x, *others in zip(kept, found, *columns, strict=True)]
    return trees.unflatten(structure, mapped)


def _is_empty(node: Any) -> bool:
    """Return whether a node is a NamedTuple without fields, such as uniopt's and optax's MaskedNode."""
    return isinstance(node, tuple) and getattr(node, "_fields", None) == ()


def _stands_for_params(node: Any) -> bool:
    return type(node) is Params
