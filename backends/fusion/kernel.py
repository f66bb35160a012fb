"""A kernel: one loop over memory, as plain data that the emitters turn into code.

A kernel says nothing about sizes or addresses, so that leaves of any size share it, and nothing about the values of
hyperparameters, so that changing one compiles nothing. Equal kernels are equal values; `Kernel.text` names the content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Value:
    """The result of an earlier instruction."""

    index: int


@dataclass(frozen=True, slots=True)
class Load:
    """The element of an operand, in the operand's dtype."""

    operand: int


@dataclass(frozen=True, slots=True)
class Argument:
    """A run-time scalar."""

    index: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that belongs to the kernel: a shift, a mask, a truth value. Other numbers are arguments."""

    value: int | bool


Source = Value | Load | Argument | Constant


@dataclass(frozen=True, slots=True)
class Operand:
    """Memory that is read or written.

    Attributes
    ----------
    dtype
        The dtype in memory.
    inner
        What moving by one along the innermost loop does to the address: ``"same"`` (broadcast), ``"next"``
        (contiguous) or ``"strided"`` (by a number of bytes given at run time).
    counted
        Whether there is no memory: an element is its own address, counted in elements.
    """

    dtype: str
    inner: Literal["same", "next", "strided"]
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Instruction:
    """One operation on one element; `op` is the standard's function name, ``"astype"`` converts to `dtype`."""

    op: str
    dtype: str  # of the result
    args: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is added up (or compared) over the loop, into memory that already holds a value.

    Attributes
    ----------
    op
        ``"sum"``, ``"max"`` or ``"min"``.
    operand
        Index of the accumulator among the operands. A sum's is float64 for floats (complex128, int64), so that the
        order of adding is hardly seen.
    """

    op: Literal["sum", "max", "min"]
    source: Source
    operand: int


@dataclass(frozen=True)
class Kernel:
    """A nest of `rank` loops with one body.

    For each row of the table, for each index, the body's instructions run in order, then the stores, then the
    reductions. Loads see memory as it was before the body's stores.
    """

    rank: int
    operands: tuple[Operand, ...]
    arguments: tuple[str, ...]  # dtypes of the run-time scalars
    body: tuple[Instruction, ...]
    stores: tuple[tuple[int, Source], ...]  # (operand, what), in the operand's dtype already
    reductions: tuple[Reduction, ...] = ()
    text: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "text", repr((self.rank, self.operands, self.arguments, self.body, self.stores, self.reductions))
        )

    @property
    def columns(self) -> int:
        """Return the length of a table row: the extents of the loops, then each operand's address and strides."""
        return self.rank + len(self.operands) * (1 + self.rank)
