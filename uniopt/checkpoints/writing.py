"""Writing a state to a file."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import uniopt
from uniopt import keys, tree
from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.protocol import Backend
from uniopt.checkpoints import bits, container
from uniopt.checkpoints.atomic import replacing
from uniopt.checkpoints.header import Header, Value
from uniopt.errors import LeafError
from uniopt.transformation import stage_of
from uniopt.typing import Array, Tree


def save(path: str | os.PathLike[str], state: Tree, tx: Any = None) -> None:
    """Write a state, or any other tree of arrays, to a file.

    Parameters
    ----------
    path
        The file. It is replaced as a whole: if the process is killed, or the disk is full, the old one stays.
    state
        What ``init`` or ``update`` returned, alone or in a tree with other things, such as parameters. Arrays may be of
        any library, device and sharding; besides them there may be numbers, texts and ``None``.
    tx
        The transformation, so that the file says which one it was, with its hyperparameters.

    Raises
    ------
    LeafError
        If a leaf is something else, or traced, or has a dtype that is no number.

    Notes
    -----
    The file is one of `safetensors <https://huggingface.co/docs/safetensors>`_; its tensors have the paths of `summary`
    for names. Nothing is pickled. Arrays are brought to the host one at a time.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adam(1e-3)
    >>> state = tx.init({"w": np.zeros(2)})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     uniopt.save(f"{folder}/adam.safetensors", state, tx)
    ...     sorted(uniopt.load(f"{folder}/adam.safetensors"))
    ['[0]ScaleByAdamState.count', "[0]ScaleByAdamState.mu['w']", "[0]ScaleByAdamState.nu['w']"]
    """
    arrays, values = _parts(state)
    stored = {name: bits.stored_as(leaf.dtype, leaf.shape) for name, leaf in arrays.items()}
    header = Header(
        uniopt=uniopt.__version__,
        libraries=tuple(f"{x.name} {x.version()}" for x in dict.fromkeys(leaf.backend for leaf in arrays.values())),
        transformation=None if tx is None else repr(stage_of(tx)),
        slots=tuple(dict.fromkeys(leaf.slot for leaf in arrays.values() if leaf.slot)),
        values=values,
        dtypes={name: leaf.dtype for name, leaf in arrays.items() if stored[name][0] != leaf.dtype},
    )
    beginning, tensors = container.layout(((name, *stored[name]) for name in arrays), header.metadata())
    with replacing(path) as file:
        file.write(beginning)
        for tensor in tensors:
            leaf = arrays[tensor.name]
            file.write(bits.to_bytes(leaf.backend.to_numpy(leaf.array), leaf.dtype))


class _Leaf(NamedTuple):
    """An array of a state that is to be written."""

    array: Array
    backend: Backend
    dtype: str
    shape: tuple[int, ...]
    slot: str


def _parts(state: Tree) -> tuple[dict[str, _Leaf], dict[str, Value]]:
    """Return the arrays of a state and its other leaves, by their paths."""
    leaves, structure = tree.flatten(state)
    arrays: dict[str, _Leaf] = {}
    values: dict[str, Value] = {}
    for path, leaf in zip(keys.paths(structure), leaves, strict=True):
        name = keys.written(path)
        if name in arrays or name in values:
            raise LeafError(f"Two leaves of the state are at {name}, because two keys print alike. Rename one of them.")
        place = name or "The state"
        backend = registry.find(type(leaf))
        if backend is not None:
            arrays[name] = _array(place, leaf, backend, keys.written(keys.slot(path)))
        elif isinstance(leaf, Value):
            values[name] = leaf
        else:
            raise LeafError(
                f"{place} is of type {type(leaf).__name__}, expected an array, a number, a text or None. "
                "Take it out of the tree, and save it in some other way."
            )
    return arrays, values


def _array(place: str, x: Array, backend: Backend, slot: str) -> _Leaf:
    dtype, shape = dtype_name(x.dtype), tuple(x.shape)
    if backend.is_traced(x):
        raise LeafError(f"{place} is traced and has no values yet. Save outside of the compiled function.")
    if not container.has(bits.stored_as(dtype, shape)[0]):
        raise LeafError(
            f"{place} has dtype {x.dtype}, expected numbers or bools. "
            "Convert it first; a key of JAX with jax.random.key_data."
        )
    return _Leaf(x, backend, dtype, shape, slot)
