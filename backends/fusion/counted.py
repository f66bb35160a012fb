"""Arrays of consecutive integers, such as the positions in a leaf, for which kernels need no memory.

An operand's address moves evenly with the loops, as these numbers do. So they are operands whose first address is the
first number, and whose strides are the steps; the unit of both is, as in memory, the size of an element.
"""

from __future__ import annotations

from uniopt.backends.dtypes import itemsize
from uniopt.backends.fusion.layout import Strides, contiguous
from uniopt.backends.fusion.operations import INTEGERS
from uniopt.backends.fusion.symbol import Symbol


def is_counted(x: Symbol) -> bool:
    """Return whether kernels count the elements of an array, and do not read them."""
    return x.op == "arange" and x.dtype in INTEGERS and 0 not in x.shape and all(isinstance(n, int) for n in x.args)


def first(x: Symbol) -> int:
    """Return what stands for the address of the first element."""
    start, _, _ = x.args
    return int(start) * itemsize(x.dtype)


def strides(x: Symbol) -> Strides:
    """Return what stands for the bytes between elements along each axis."""
    _, _, step = x.args
    return contiguous(x.shape, int(step) * itemsize(x.dtype))
