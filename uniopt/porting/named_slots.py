"""The slots of a leaf made of those that a framework keeps for each of its named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from uniopt.errors import PortingError
from uniopt.porting.description import Description
from uniopt.porting.factors import to_mean, to_means
from uniopt.porting.layout import Layout

Held = Mapping[str, Mapping[str, Any]]
"""What is kept: NumPy arrays by the framework's name of the slot, and by the name of the parameter."""

MEANS = {"row": -1, "_r": -1, "col": -2, "_c": -2}
"""The axis over which the means are taken of which a factored second moment is made."""


def read(layout: Layout, i: int, start: Description, names: Mapping[str, str], held: Held) -> dict[str, Any]:
    """Return the slots of leaf `i` in the normal form.

    Parameters
    ----------
    layout
        Where the leaf's elements come from.
    i
        The leaf.
    start
        Its description before the first step.
    names
        The normal form's name of each of the framework's slots. Means have a name that ends with ``mean_over``, and
        theirs ends with one of `MEANS`.
    held
        What is kept.
    """
    slots: dict[str, Any] = {}
    for theirs, ours in names.items():
        own = {name: held[theirs][name] for name in layout.sources[i].names if name in held.get(theirs, {})}
        if len(own) < len(layout.sources[i].names):
            continue
        if ours.endswith("mean_over"):
            slots |= _means(layout, i, start, theirs, ours, own)
        elif ours in start.slots:
            whole = all(np.shape(x) == layout.shapes[name] for name, x in own.items())
            slots[ours] = layout.to_leaf(i, own) if whole else layout.one_value(i, own, theirs)
    return slots


def written(layout: Layout, i: int, described: Description, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what a framework keeps of leaf `i`: arrays by its name of the slot, and by the name of the parameter."""
    found: dict[str, dict[str, Any]] = {}
    for theirs, ours in names.items():
        if ours.endswith("mean_over"):
            kept = _of_means(layout, i, described, theirs, ours)
        elif (value := described.slots.get(ours)) is None:
            continue
        elif np.shape(value) == layout.leaf_shape(i):
            kept = layout.to_arrays(i, value)
        else:
            kept = dict.fromkeys(layout.sources[i].names, value)
        if kept:
            found[theirs] = kept
    return found


def _means(
    layout: Layout, i: int, start: Description, theirs: str, ours: str, own: Mapping[str, Any]
) -> dict[str, Any]:
    kept = {name: np.expand_dims(x, _averaged(theirs)) for name, x in own.items() if np.ndim(x)}
    if not kept or not _axes(start, ours):
        return {}
    taken = {name: to_mean(layout, i, kept, axis) for name, axis in _axes(start, ours)}
    fitting = {name: x for name, x in taken.items() if x is not None}
    if not fitting:
        raise PortingError(f"{start.path} has no axis over which {theirs} of {' and '.join(own)} is a mean.")
    return fitting


def _of_means(layout: Layout, i: int, described: Description, theirs: str, ours: str) -> dict[str, Any]:
    axes = _axes(described, ours)
    if len(layout.shapes[layout.sources[i].names[0]]) < 2:
        return {}
    for name, _ in axes:
        found = to_means(layout, i, described.slots[name], layout.leaf_shape(i), _averaged(theirs))
        if found is not None:
            return {name: np.squeeze(x, _averaged(theirs)) for name, x in found.items()}
    if axes:
        raise PortingError(f"The {theirs} of {described.path} is no mean that the state has.")
    return {}


def _averaged(theirs: str) -> int:
    return next(axis for ending, axis in MEANS.items() if theirs.endswith(ending))


def _axes(described: Description, slot: str) -> list[tuple[str, int]]:
    """Return the means that a leaf has, and the axis that each is taken over."""
    return [(name, int(name.rpartition("_")[2])) for name in described.slots if name.startswith(f"{slot}_")]
