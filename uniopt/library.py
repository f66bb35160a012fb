"""Which array library a tree is of, and arrays of it for the numbers among its leaves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from uniopt import tree
from uniopt.backends import registry
from uniopt.backends.protocol import Backend
from uniopt.errors import LeafError, MixedLibrariesError, UnknownArrayTypeError
from uniopt.place import NUMBERS, is_number

if TYPE_CHECKING:
    from optree import PyTreeSpec


def library_of(structure: PyTreeSpec | None, **columns: Sequence[Any]) -> Backend | None:
    """Return the one library of all leaves, or None if they are all numbers or ``None``."""
    kinds = set(chain.from_iterable(map(type, leaves) for leaves in columns.values())) - {type(None)}
    if kinds.isdisjoint(NUMBERS) and len(known := {registry.find(kind) for kind in kinds}) == 1 and None not in known:
        return known.pop()
    backend: Backend | None = None
    first: tuple[str, int] = ("", 0)

    def path(name: str, i: int) -> str:
        return name if structure is None else tree.paths(structure, name)[i]

    for name, leaves in columns.items():
        for i, leaf in enumerate(leaves):
            if leaf is None or is_number(leaf):
                continue
            found = registry.find(type(leaf))
            if found is backend and found is not None:
                continue
            if found is None:
                raise _not_an_array(leaf, path(name, i))
            if backend is not None:
                raise MixedLibrariesError(
                    f"{path(*first)} is an array of {backend.name}, {path(name, i)} of {found.name}. "
                    "Expected all leaves of one tree in one library; convert one of them."
                )
            backend, first = found, (name, i)
    return backend


def _not_an_array(leaf: Any, path: str) -> Exception:
    if type(leaf).__module__ == "builtins":
        return LeafError(
            f"{path} is {leaf!r} of type {type(leaf).__name__}, expected an array or a number. "
            "Take it out of the tree, or put None in its place."
        )
    return UnknownArrayTypeError(f"At {path}: {registry.unknown_type_message(type(leaf))}")


def outline(x: Any) -> str:
    """Return how an error shows an argument: an array, which may have no value yet, by its shape and dtype."""
    found = registry.find(type(x))
    if found is None or found.name == "numpy":
        return repr(x)
    return f"an array of {found.name} of shape {tuple(x.shape)} and dtype {x.dtype}"


def numbers_as_arrays(backend: Backend, leaves: Sequence[Any], others: Sequence[Any], like: Any = None) -> list[Any]:
    """Return the leaves with each Python number as a 0-d array of the dtype that its counterpart has.

    The arrays are where `like` is; if that is None, where the first array among the leaves and their counterparts is.
    """
    if not any(issubclass(kind, NUMBERS) for kind in set(map(type, leaves))):
        return list(leaves)
    neighbour = next((x for x in (*leaves, *others) if hasattr(x, "dtype")), None) if like is None else like
    arrays = []
    for leaf, other in zip(leaves, others, strict=True):
        if not is_number(leaf):
            arrays.append(leaf)
            continue
        value = leaf if isinstance(leaf, bool | complex) else float(leaf)
        # An explicit dtype: JAX gives a bare number a weak type, which would change after the first step.
        dtype = other.dtype if hasattr(other, "dtype") else backend.asarray(value).dtype
        arrays.append(backend.asarray(value, dtype=dtype, like=neighbour))
    return arrays
