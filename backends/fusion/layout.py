"""How a loop walks through memory: as few and as long loops as the strides allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Strides = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Loops over several arrays at once.

    Attributes
    ----------
    extents
        Lengths of the loops, the outermost first; at least one.
    strides
        For each array, the bytes between elements along each loop; 0 where it is broadcast.
    """

    extents: tuple[int, ...]
    strides: tuple[Strides, ...]

    def inner(self, array: int, itemsize: int) -> Literal["same", "next", "strided"]:
        """Return how the innermost loop moves through an array."""
        stride = self.strides[array][-1]
        return "same" if stride == 0 else "next" if stride == itemsize else "strided"


def layout(shape: Sequence[int], strides: Sequence[Strides]) -> Layout:
    """Return the loops over `shape` for arrays with those strides, all broadcast to it.

    Axes are put in the order of the first full array's memory, and joined where all arrays step evenly across them.
    """
    axes = [a for a, n in enumerate(shape) if n != 1]
    full = next((s for s in strides if all(s[a] for a in axes)), strides[0])
    axes.sort(key=lambda a: -abs(full[a]))
    loops: list[tuple[int, Strides]] = []
    for a in axes:
        steps = tuple(s[a] for s in strides)
        if loops and all(outer == step * shape[a] for outer, step in zip(loops[-1][1], steps, strict=True)):
            loops[-1] = (loops[-1][0] * shape[a], steps)
        else:
            loops.append((shape[a], steps))
    if not loops:
        loops.append((1, (0,) * len(strides)))
    return Layout(tuple(n for n, _ in loops), tuple(zip(*(steps for _, steps in loops), strict=True)))


def contiguous(shape: Sequence[int], itemsize: int) -> Strides:
    """Return the strides of an array whose elements lie one behind the other, the last axis innermost."""
    steps = [itemsize]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return tuple(reversed(steps[: len(shape)]))


def spread(strides: Strides, shape: Sequence[int], target: Sequence[int]) -> Strides:
    """Return the strides of an array that is broadcast to another shape."""
    missing = len(target) - len(shape)
    return (0,) * missing + tuple(0 if n == 1 else step for n, step in zip(shape, strides, strict=True))
