"""Leaves that share arrays put together, so that each array is whole again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from uniopt.errors import PortingError
from uniopt.porting.description import Description, differences
from uniopt.porting.layout import Layout, Source


def joined(layout: Layout, described: Sequence[Description]) -> tuple[Layout, list[Description]]:
    """Return a layout of which no array is split over several leaves, and the descriptions of its leaves.

    Leaves that have parts of the same arrays become one, which has the elements of all of them one after another.

    Raises
    ------
    PortingError
        If such leaves are optimized differently.
    """
    groups = _sharing(layout)
    if all(len(group) == 1 for group in groups):
        return layout, list(described)
    sources = [_source(layout, group) for group in groups]
    leaves = [_together(layout, group, [described[i] for i in group]) for group in groups]
    paths = [leaf.path for leaf in leaves]
    return replace(layout, sources=sources, paths=paths, present=[True] * len(sources), structure=None), leaves


def _sharing(layout: Layout) -> list[list[int]]:
    """Return the leaves in groups, of which none has an array in common with another."""
    groups: list[list[int]] = []
    for i, source in enumerate(layout.sources):
        sharing = [group for group in groups if any({*layout.sources[j].names} & {*source.names} for j in group)]
        groups = [group for group in groups if group not in sharing]
        groups.append(sorted([i, *(j for group in sharing for j in group)]))
    return groups


def _source(layout: Layout, group: Sequence[int]) -> Source:
    """Return where the elements of several leaves come from."""
    if len(group) == 1:
        return layout.sources[group[0]]
    names = tuple(dict.fromkeys(name for i in group for name in layout.sources[i].names))
    begins = dict(zip(names, np.cumsum([0, *(layout.size(name) for name in names)]).tolist(), strict=False))
    positions = []
    for i in group:
        source = layout.sources[i]
        everywhere = np.concatenate([begins[name] + np.arange(layout.size(name)) for name in source.names])
        positions.append(np.ravel(everywhere[source.positions]))
    return Source(names, np.concatenate(positions))


def _together(layout: Layout, group: Sequence[int], described: Sequence[Description]) -> Description:
    """Return the description of several leaves as one."""
    first = described[0]
    if len(group) == 1:
        return first
    for leaf in described[1:]:
        if different := differences(first, leaf):
            raise _different(first, leaf, different)
    slots: dict[str, Any] = {}
    for name, value in first.slots.items():
        values: list[Any] = [leaf.slots.get(name) for leaf in described]
        if np.shape(value) == layout.leaf_shape(group[0]):
            slots[name] = np.concatenate([np.ravel(x) for x in values])
        elif all(np.array_equal(x, value) for x in values):
            slots[name] = value
        else:
            raise _different(first, described[-1], [f"{name} is {values}"])
    return replace(first, path=" and ".join(leaf.path for leaf in described), slots=slots)


def _different(first: Description, other: Description, how: Sequence[str]) -> PortingError:
    return PortingError(
        f"{first.path} and {other.path} have parts of the same array, but are optimized differently: {'; '.join(how)}."
    )
