"""Where the elements of named arrays stand in a tree of parameters, as a function for the weights puts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import Any

import numpy as np

from uniopt import tree
from uniopt.backends import registry
from uniopt.errors import PortingError
from uniopt.porting import host
from uniopt.typing import Tree

Convert = Callable[[dict[str, Any]], Tree]
"""Makes a tree of parameters of NumPy arrays by name: renames, transposes, reshapes, stacks."""

_DIGITS = 256  # whole numbers below it are exact in every floating-point dtype, bfloat16 included


@dataclass(frozen=True)
class Source:
    """Where one leaf comes from.

    Attributes
    ----------
    names
        The arrays whose elements the leaf has.
    positions
        For each element its position among theirs, one array after another; None for one array as it is.
    """

    names: tuple[str, ...]
    positions: Any


@dataclass(frozen=True)
class Layout:
    """The way between named arrays and the leaves of a tree, in both directions.

    Attributes
    ----------
    shapes
        The shapes of the arrays by name.
    structure
        The structure of the tree, in which some leaves may be None.
    present
        For each leaf of the structure whether it is one; all others are None.
    sources
        For each leaf its `Source`.
    paths
        For each leaf the expression that reaches it, for errors.
    """

    shapes: dict[str, tuple[int, ...]]
    structure: Any
    present: list[bool]
    sources: list[Source]
    paths: list[str]

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]], convert: Convert | None) -> Layout:
        """Return the layout that a function gives to arrays of some shapes; by default a dict by name.

        The function is not given weights, but arrays of digits that tell where every element goes.

        Raises
        ------
        PortingError
            If it does more than moving elements, or leaves some out.
        """
        named = {name: tuple(shape) for name, shape in shapes.items()}
        if convert is None:
            leaves, structure = tree.flatten({name: name for name in named})
            sources = [Source((name,), None) for name in leaves]
            return cls(named, structure, [True] * len(sources), sources, tree.paths(structure))
        sizes = {name: math.prod(shape) for name, shape in named.items()}
        offsets = dict(zip(named, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
        total = sum(sizes.values())
        found, structure, present = _places(convert, named, offsets, total)
        paths = list(compress(tree.paths(structure), present))
        _check(found, paths, named, offsets, sizes, total)
        empty = iter(name for name, size in sizes.items() if size == 0)
        sources = []
        for path, places in zip(paths, found, strict=True):
            names = tuple(n for n in named if np.any((places >= offsets[n]) & (places < offsets[n] + sizes[n])))
            if not names:  # nothing tells one empty array from another, nor has to
                names = tuple(islice(empty, 1))
            if not names:
                raise PortingError(f"convert put an empty array at {path} that is no parameter. Leave it out.")
            begins = np.cumsum([0, *(sizes[n] for n in names)])
            positions = np.zeros_like(places)
            for begin, n in zip(begins, names, strict=False):
                within = (places >= offsets[n]) & (places < offsets[n] + sizes[n])
                positions = np.where(within, places - offsets[n] + begin, positions)
            sources.append(Source(names, positions))
        return cls(named, structure, present, sources, paths)

    @property
    def leaves(self) -> range:
        """The numbers of all leaves."""
        return range(len(self.sources))

    def to_tree(self, leaves: Sequence[Any]) -> Tree:
        """Return the tree that has some leaves."""
        remaining = iter(leaves)
        return tree.unflatten(self.structure, [next(remaining) if x else None for x in self.present])

    def size(self, name: str) -> int:
        """Return how many elements an array has."""
        return math.prod(self.shapes[name])

    def leaf_shape(self, i: int) -> tuple[int, ...]:
        """Return the shape of leaf `i`."""
        source = self.sources[i]
        return self.shapes[source.names[0]] if source.positions is None else tuple(source.positions.shape)

    def to_leaf(self, i: int, arrays: Mapping[str, Any]) -> Any:
        """Return leaf `i`, made of arrays by name."""
        source = self.sources[i]
        if source.positions is None:
            return arrays[source.names[0]]
        return np.concatenate([np.ravel(arrays[name]) for name in source.names])[source.positions]

    def to_arrays(self, i: int, leaf: Any) -> dict[str, Any]:
        """Return the arrays by name whose elements leaf `i` has."""
        source = self.sources[i]
        if source.positions is None:
            return {source.names[0]: leaf}
        flat = np.empty(leaf.size, leaf.dtype)
        flat[np.ravel(source.positions)] = np.ravel(leaf)
        sizes = [self.size(name) for name in source.names]
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        return {name: np.reshape(x, self.shapes[name]) for name, x in zip(source.names, parts, strict=True)}

    def one_value(self, i: int, values: Mapping[str, Any], what: str) -> Any:
        """Return what all arrays of leaf `i` have the same of; PortingError if they differ."""
        names = self.sources[i].names
        first = values[names[0]]
        for name in names[1:]:
            if values[name] != first:
                raise PortingError(
                    f"{self.paths[i]} is made of {names[0]} and {name}, of which {what} is {first!r} and "
                    f"{values[name]!r}. One leaf can have only one: convert them into leaves of their own."
                )
        return first


def laid_out(named: Mapping[str, Any], convert: Convert | None) -> tuple[Layout, Tree]:
    """Return the layout that a function gives to arrays by name, and the tree of their values on NumPy arrays."""
    values = {name: host.array(x) for name, x in named.items()}
    layout = Layout.of({name: x.shape for name, x in values.items()}, convert)
    return layout, layout.to_tree([layout.to_leaf(i, values) for i in layout.leaves])


def _places(
    convert: Convert, shapes: Mapping[str, tuple[int, ...]], offsets: Mapping[str, int], total: int
) -> tuple[list[Any], Any, list[bool]]:
    """Return for each leaf the places its elements come from, counted through all arrays.

    With them come the structure of the tree, and which of its leaves are not None.
    """
    places: list[Any] = []
    structure = None
    factor = 1
    while structure is None or factor < total:
        digits = {
            name: ((offsets[name] + np.arange(math.prod(shape))) // factor % _DIGITS).astype(np.float32).reshape(shape)
            for name, shape in shapes.items()
        }
        converted = _converted(convert, digits)
        leaves, structure = tree.flatten(converted)
        read = [_digits(x, path) for path, x in tree.leaves_with_paths(converted)]
        places = [x + factor * y for x, y in zip(places, read, strict=True)] if places else read
        factor *= _DIGITS
    return places, structure, [x is not None for x in leaves]


def _converted(convert: Convert, arrays: dict[str, Any]) -> Tree:
    try:
        return convert(arrays)
    except Exception as error:
        raise PortingError(
            f"convert failed: {type(error).__name__}: {error}. It is given a dict of NumPy arrays, and may use what "
            "all libraries have, such as x.T and x.reshape."
        ) from error


def _digits(leaf: Any, path: str) -> Any:
    backend = registry.find(type(leaf))
    if backend is None:
        raise PortingError(f"convert put {leaf!r} at {path}, expected an array. Leave out what is no parameter.")
    values = np.asarray(backend.to_numpy(leaf), np.float64)
    whole = np.rint(values)
    if not np.array_equal(values, whole):
        raise PortingError(
            f"convert changed values at {path}, expected it to move them only: the state of an optimizer "
            "cannot follow. Change the weights in a step of its own."
        )
    return whole.astype(np.int64)


def _check(
    found: Sequence[Any],
    paths: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    offsets: Mapping[str, int],
    sizes: Mapping[str, int],
    total: int,
) -> None:
    """Raise PortingError unless every element is in one place of the tree, and only there."""
    seen = np.zeros(total, np.int64)
    for places, path in zip(found, paths, strict=True):
        if places.size and (places.min() < 0 or places.max() >= total):
            raise PortingError(f"convert changed values at {path}, expected it to move them only.")
        np.add.at(seen, np.ravel(places), 1)
    for name in shapes:
        times = seen[offsets[name] : offsets[name] + sizes[name]]
        if not np.array_equal(times, np.ones_like(times)):
            how = "left out elements of" if np.any(times == 0) else "put twice elements of"
            raise PortingError(
                f"convert {how} {name}, expected each element in one place of the tree: the state of the optimizer "
                "belongs to all of them."
            )
