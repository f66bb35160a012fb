"""The slots of a leaf made of those that a framework keeps for each of its named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from uniopt.errors import PortingError
from uniopt.porting.constructors import Constructor, constructor_for
from uniopt.porting.description import Description
from uniopt.porting.factors import to_mean, to_means
from uniopt.porting.layout import Layout

Held = Mapping[str, Mapping[str, Any]]
"""What is kept: NumPy arrays by the framework's name of the slot, and by the name of the parameter."""

_AXES = {
    "row_var": -1,
    "col_var": -2,  # torch, which keeps the axis with length 1
    "exp_avg_sq_row": -1,
    "exp_avg_sq_col": -2,  # MLX
    "_r": -1,
    "_c": -2,  # Keras
}
"""The slots that are means of squares, and the axis over which they are taken."""


def begun(
    layout: Layout, i: int, start: Description, table: Sequence[Constructor], held: Held, step: int, name: str
) -> Description:
    """Return the description of leaf `i` after some steps, of which the optimizer counts one number for all.

    Parameters
    ----------
    layout, i
        Where the leaf's elements come from.
    start
        Its description before the first step.
    table, name
        The forms of the optimizer, and its name.
    held
        What is kept; the axes of means are left out.
    step
        The number of steps.
    """
    names = layout.sources[i].names
    slots: dict[str, Any] = {}
    for theirs, ours in constructor_for(table, start, name).slots.items():
        own = {n: held[theirs][n] for n in names if n in held.get(theirs, {})}
        if theirs in _AXES:
            own = {n: np.expand_dims(x, _AXES[theirs]) for n, x in own.items() if np.ndim(x)}
        if len(own) == len(names):
            slots |= slot_of(layout, i, start, theirs, ours, own)
    return start.begun(
        {name: x for name, x in slots.items() if name in start.slots},
        None if start.count is None else step,
        None if start.position is None else step,
    )


def written(layout: Layout, i: int, described: Description, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what is kept of leaf `i`, with the axes of means left out."""
    found = {}
    for theirs, ours in names.items():
        kept = arrays_of(layout, i, described, theirs, ours)
        if kept:
            axis = _AXES.get(theirs)
            found[theirs] = kept if axis is None else {name: np.squeeze(x, axis) for name, x in kept.items()}
    return found


def slot_of(
    layout: Layout, i: int, start: Description, theirs: str, ours: str, held: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a leaf has of a framework's slot, by the names of the normal form; means keep their axis."""
    if ours.endswith("mean_over"):
        axes = _axes(start, ours)
        taken = {name: to_mean(layout, i, held, axis) for name, axis in axes}
        fitting = {name: x for name, x in taken.items() if x is not None}
        if axes and not fitting:
            raise PortingError(f"{start.path} has no axis over which {theirs} of {' and '.join(held)} is a mean.")
        return fitting
    if ours not in start.slots:
        return {}
    is_of_elements = np.shape(start.slots[ours]) == layout.leaf_shape(i)
    if is_of_elements and all(np.shape(x) == layout.shapes[name] for name, x in held.items()):
        return {ours: layout.to_leaf(i, held)}
    return {ours: layout.one_value(i, held, theirs)}


def arrays_of(layout: Layout, i: int, described: Description, theirs: str, ours: str) -> dict[str, Any]:
    """Return what each parameter of a leaf has of a slot, in the framework's form; means keep their axis."""
    if ours.endswith("mean_over"):
        return _means(layout, i, described, theirs, ours)
    value = described.slots.get(ours)
    if value is None:
        return {}
    if np.shape(value) == layout.leaf_shape(i):
        return layout.to_arrays(i, value)
    return dict.fromkeys(layout.sources[i].names, value)


def _means(layout: Layout, i: int, described: Description, theirs: str, ours: str) -> dict[str, Any]:
    means: dict[str, Any] = {}
    axes = _axes(described, ours)
    for name, _ in axes:
        found = to_means(layout, i, described.slots[name], layout.leaf_shape(i), _AXES[theirs])
        means = found or means
    if axes and not means:
        raise PortingError(f"{theirs} of {described.path} is no mean that the state has.")
    return means


def _axes(described: Description, slot: str) -> list[tuple[str, int]]:
    """Return the means that a leaf has, and the axis that each is taken over."""
    return [(name, int(name.rpartition("_")[2])) for name in described.slots if name.startswith(f"{slot}_")]
