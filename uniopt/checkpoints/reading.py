"""Reading a state from a file, onto the library, device and sharding of another one."""

from __future__ import annotations

import os
from io import BufferedReader
from typing import Any

import numpy as np

from uniopt import keys, tree
from uniopt.backends import registry
from uniopt.checkpoints import bits
from uniopt.checkpoints.header import StoredArray, read_header
from uniopt.checkpoints.matching import check
from uniopt.typing import Array, Tree


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
    hyperparameters have the widest dtype that there is. A number that was set in place of one becomes what it is in
    `like`.

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
        paths = keys.paths(structure)
        check(os.fspath(path), header, arrays, dict(zip(paths, leaves, strict=True)))
        names = map(keys.written, paths)
        results = []
        for name, leaf in zip(names, leaves, strict=True):
            value = _values(file, arrays[name]) if name in arrays else header.values[name]
            results.append(value if registry.find(type(leaf)) is None else _placed(value, leaf))
    return tree.unflatten(structure, results)


def _values(file: BufferedReader, x: StoredArray) -> Any:
    return bits.from_file(file, x.tensor, x.dtype)


def _placed(values: Any, like: Array) -> Array:
    """Return values as an array of the library of `like`, in its dtype, where it lives."""
    backend = registry.backend_of(like)
    return backend.restore(backend.place(backend.asarray(values, like.dtype, like), like), like, like.dtype)
