"""Reading a state from a file, onto the library, device and sharding of another one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import BufferedReader
from typing import Any

import numpy as np

from uniopt import keys, tree
from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend
from uniopt.checkpoints import bits
from uniopt.checkpoints.header import Header, StoredArray, read_header
from uniopt.errors import StateError
from uniopt.place import NUMBERS
from uniopt.typing import Array, Tree

_WRITTEN_OUT = 5
"""Paths in an error, of one kind."""


def load(path: str | os.PathLike[str], like: Tree = None) -> Tree:
    """Return the state in a file that `save` wrote.

    Parameters
    ----------
    path
        The file.
    like
        A state as ``tx.init(params)`` returns it, or a tree like the one that was saved. The result has its containers,
        and arrays of its library, on its devices, with its sharding, whatever they were saved from. Without it, the
        result is a dict of NumPy arrays, numbers and texts by their paths.

    Raises
    ------
    CheckpointError
        If the file is no checkpoint, is damaged or cut off, or was written by a later version.
    StateError
        If it holds another state than `like`: leaves that are missing or too many, other shapes, other dtypes.

    Notes
    -----
    Values have the bits they were saved with, but for what a NaN carries in bfloat16. Dtypes are not converted; only a
    0-d array of float32 may become float64, and one of float64 float32 where there is no float64, as with JAX: injected
    hyperparameters have the widest dtype that there is.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import torch
    >>> import uniopt
    >>> tx = uniopt.sgd(0.1, momentum=0.9)
    >>> _, state = tx.update({"w": np.ones(2)}, tx.init({"w": np.zeros(2)}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     uniopt.save(f"{folder}/sgd.safetensors", state, tx)
    ...     uniopt.load(f"{folder}/sgd.safetensors", like=tx.init({"w": torch.zeros(2, dtype=torch.float64)}))[0]
    TraceState(trace={'w': tensor([1., 1.], dtype=torch.float64)})
    """
    with open(path, "rb") as file, np.errstate(invalid="ignore"):  # NumPy warns of a NaN when it casts to bfloat16
        header, arrays = read_header(file, path)
        if like is None:
            host = registry.get("numpy")
            found = {name: host.from_numpy(_values(file, x), x.dtype) for name, x in arrays.items()}
            return {**found, **header.values}
        leaves, structure = tree.flatten(like)
        steps = keys.paths(structure)
        names = list(map(keys.written, steps))
        slots = {name: keys.written(keys.slot(x)) for name, x in zip(names, steps, strict=True)}
        _check(os.fspath(path), header, arrays, dict(zip(names, leaves, strict=True)), slots)
        results = [
            _placed(_values(file, arrays[name]), leaf) if name in arrays else header.values[name]
            for name, leaf in zip(names, leaves, strict=True)
        ]
    return tree.unflatten(structure, results)


def _values(file: BufferedReader, x: StoredArray) -> Any:
    return bits.from_file(file, x.tensor, x.dtype)


def _placed(values: Any, like: Array) -> Array:
    """Return values as an array of the library of `like`, in its dtype, where it lives."""
    backend = registry.backend_of(like)
    return backend.restore(backend.place(backend.asarray(values, like.dtype, like), like), like, like.dtype)


def _check(
    path: str, header: Header, arrays: dict[str, StoredArray], like: dict[str, Any], slots: dict[str, str]
) -> None:
    """Raise StateError unless the leaves in a file are those of `like`, which are in some slots."""
    stored = {name: header.slot_of(name) for name in (*arrays, *header.values)}
    missing = [name for name in like if name not in stored]
    extra = [name for name in stored if name not in like]
    different = [
        difference
        for name, leaf in like.items()
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
    for name, slot in slots.items():
        whole.setdefault(slot or name, []).append(name)
    chosen = set(names)
    found: list[str] = []
    for slot, leaves in whole.items():
        if len(leaves) > 1 and chosen.issuperset(leaves):
            found.append(f"{slot} ({len(leaves)} leaves)")
        else:
            found += [name for name in leaves if name in chosen]
    return found


def _more(names: list[str]) -> list[str]:
    return [f"{len(names) - _WRITTEN_OUT} more"] if len(names) > _WRITTEN_OUT else []


def _difference(name: str, leaf: Any, array: StoredArray | None, value: Any) -> str | None:
    """Return how a leaf in the file differs from that of `like`, or None if it fits."""
    backend = registry.find(type(leaf))
    if backend is not None and array is not None and _fits(array, leaf, backend):
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


def _dtype(leaf: Array) -> str:
    return dtype_name(leaf.dtype).removesuffix("_")


def _outline(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype} of shape {tuple(shape)}"


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    return "a number" if isinstance(value, NUMBERS) else f"a {type(value).__name__}"
