"""Whether the state in a file is the one that is asked for, and in words where it is another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.backends.protocol import Backend
from uniopt.checkpoints.header import Header, StoredArray
from uniopt.errors import StateError
from uniopt.keys import Key, slot, written
from uniopt.place import NUMBERS
from uniopt.typing import Array

_WRITTEN_OUT = 5
"""Paths in an error, of one kind."""


def check(path: str, header: Header, arrays: dict[str, StoredArray], like: dict[tuple[Key, ...], Any]) -> None:
    """Raise StateError unless the leaves in a file are those of another state.

    Parameters
    ----------
    path
        The file.
    header, arrays
        What is in it.
    like
        The leaves of the other state.
    """
    leaves = {written(steps): leaf for steps, leaf in like.items()}
    slots = {written(steps): written(slot(steps)) for steps in like}
    stored = {name: header.slot_of(name) for name in (*arrays, *header.values)}
    missing = [name for name in leaves if name not in stored]
    extra = [name for name in stored if name not in leaves]
    different = [
        difference
        for name, leaf in leaves.items()
        if name in stored and (difference := _difference(name, leaf, arrays.get(name), header.values.get(name)))
    ]
    lines = [
        f"{title}: {', '.join([*names[:_WRITTEN_OUT], *_more(names)])}."
        for title, names in (
            ("Not in the file", _by_slot(missing, slots)),
            ("Not in like", _by_slot(extra, stored)),
            ("Different", different),
        )
        if names
    ]
    if lines:
        by = f" It was saved with {header.transformation}." if header.transformation else ""
        raise StateError(
            f"{path} holds another state than like. {' '.join(lines)}{by} "
            "Pass as like what init of the same transformation returns for the same parameters."
        )


def _by_slot(names: list[str], slots: dict[str, str]) -> list[str]:
    """Return some of the leaves that are in slots, those of a slot that are all among them as one."""
    whole: dict[str, list[str]] = {}
    for name, of_leaf in slots.items():
        whole.setdefault(of_leaf or name, []).append(name)
    chosen = set(names)
    found: list[str] = []
    for where, leaves in whole.items():
        if len(leaves) > 1 and chosen.issuperset(leaves):
            found.append(f"{where} ({len(leaves)} leaves)")
        else:
            found += [name for name in leaves if name in chosen]
    return found


def _more(names: list[str]) -> list[str]:
    return [f"{len(names) - _WRITTEN_OUT} more"] if len(names) > _WRITTEN_OUT else []


def _difference(name: str, leaf: Any, array: StoredArray | None, value: Any) -> str | None:
    """Return how a leaf in the file differs from that of `like`, or None if it fits."""
    backend = registry.find(type(leaf))
    if backend is not None and (_is_set(value, leaf) if array is None else _fits(array, leaf, backend)):
        return None
    mine = _kind(leaf) if backend is None else _outline(_dtype(leaf), leaf.shape)
    stored = _kind(value) if array is None else _outline(array.dtype, array.shape)
    return None if mine == stored else f"{name or 'the state'} is {stored} in the file, {mine} in like"


def _fits(array: StoredArray, leaf: Array, backend: Backend) -> bool:
    """Return whether an array can be loaded as it is.

    Scalars such as injected hyperparameters have float64 where there is float64: those alone are widened, and rounded
    where there is none.
    """
    same = array.dtype == _dtype(leaf) or (
        {array.dtype, _dtype(leaf)} == {"float32", "float64"}
        and array.shape == ()
        and (array.dtype == "float32" or not backend.has_float64(leaf))
    )
    return same and array.shape == tuple(leaf.shape)


def _is_set(value: Any, leaf: Array) -> bool:
    """Return whether a value is a number that was set in place of a scalar, such as an injected hyperparameter."""
    kinds = {"real": (int, float), "integer": (int,)}.get(dtype_kind(_dtype(leaf)) or "", ())
    return tuple(leaf.shape) == () and isinstance(value, kinds) and not isinstance(value, bool)


def _dtype(leaf: Array) -> str:
    return dtype_name(leaf.dtype)


def _outline(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype} of shape {tuple(shape)}"


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    return "a number" if isinstance(value, NUMBERS) else f"a {type(value).__name__}"
