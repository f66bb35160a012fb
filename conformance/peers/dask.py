"""Dask: nothing is computed until it is asked for, and every step adds to the graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dask

from uniopt import tree
from uniopt.typing import Tree


@contextmanager
def session(dtype: str) -> Iterator[None]:
    """Compute in this thread: the arrays are small, and NumPy's error state belongs to a thread."""
    with dask.config.set(scheduler="synchronous"):
        yield


def settle(arrays: Tree) -> Tree:
    """Return the tree with every array computed."""
    leaves, structure = tree.flatten(arrays)
    # Fusing the deep graph of one step takes far longer than computing it.
    computed = iter(dask.base.persist(*[x for x in leaves if x is not None], optimize_graph=False))  # type: ignore[no-untyped-call]  # dask has no types
    return tree.unflatten(structure, [None if x is None else next(computed) for x in leaves])
