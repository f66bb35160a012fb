"""The means over an axis of which a factored second moment is made, brought from named arrays to leaves and back.

A mean keeps its axis with length 1. A leaf may have its axes in another order, or be made of several arrays; it has a
mean over one of its own axes if that axis runs along the one that was averaged in every array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from uniopt.porting.layout import Layout


def to_mean(layout: Layout, i: int, means: Mapping[str, Any], axis: int) -> Any:
    """Return the mean over an axis of leaf `i` that some arrays' means are; None if they are none."""
    begin, numbered = 0, {}
    for name, mean in means.items():
        numbers = begin + np.arange(mean.size).reshape(mean.shape)
        numbered[name] = np.broadcast_to(numbers, layout.shapes[name])
        begin += mean.size
    numbers = layout.to_leaf(i, numbered)
    first = np.take(numbers, [0], axis)
    if first.size != begin or not np.array_equal(np.broadcast_to(first, numbers.shape), numbers):
        return None
    return np.concatenate([np.ravel(mean) for mean in means.values()])[first]


def to_means(layout: Layout, i: int, mean: Any, shape: tuple[int, ...], axis: int) -> dict[str, Any] | None:
    """Return the means over an axis of the arrays that leaf `i` of some shape is made of; None if it has no such."""
    numbers = np.broadcast_to(np.arange(mean.size).reshape(mean.shape), shape)
    found = {}
    for name, numbered in layout.to_arrays(i, numbers).items():
        first = np.take(numbered, [0], axis)
        if not np.array_equal(np.broadcast_to(first, numbered.shape), numbered):
            return None
        found[name] = np.ravel(mean)[first]
    return found if sum(x.size for x in found.values()) == mean.size else None
