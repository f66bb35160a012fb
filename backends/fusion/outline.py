"""What of an array decides about a program."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt.backends.dtypes import itemsize
from uniopt.backends.fusion.layout import Strides, contiguous
from uniopt.backends.fusion.memory import Memory
from uniopt.backends.fusion.symbol import Shape


class Outline(NamedTuple):
    """An array without its elements.

    Attributes
    ----------
    shape, dtype
        As everywhere, the dtype by the standard's name.
    strides
        The bytes between elements along each axis.
    whole_shape
        The shape of the array that it is a part of.
    """

    shape: Shape
    dtype: str
    strides: Strides
    whole_shape: Shape


def outline(memory: Memory, x: Any) -> Outline:
    """Return the outline of an array; libraries differ in the strides of an empty one, which nobody goes through."""
    shape, dtype = memory.shape(x), memory.dtype(x)
    strides = contiguous(shape, itemsize(dtype)) if 0 in shape else memory.strides(x)
    return Outline(shape, dtype, strides, memory.whole_shape(x))
