"""What all references share: hyperparameters that follow the step count, slots, and the walk over the elements.

In every reference k numbers the leaves, i the elements of a leaf in row-major order, t the steps from 1, and n = t - 1
from 0. A slot s is a list of lists: ``s[k][i]`` belongs to element i of leaf k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from uniopt.conformance.reference.leaf import Leaf

Gradient: TypeAlias = Sequence[Leaf | None]  # one entry a leaf; None skips the leaf
Gradients: TypeAlias = Iterable[Gradient]  # one entry a step
Rate: TypeAlias = float | Callable[[int], float]  # a number, or a function of n
Mask: TypeAlias = bool | Sequence[bool] | None  # one bool a leaf, or one for all; None is True
Slot: TypeAlias = list[list[float]]


def at(rate: Rate, n: int) -> float:
    """Return the value of a rate at count n = 0, 1, 2, ..."""
    return rate(n) if callable(rate) else rate


def selects(mask: Mask, k: int) -> bool:
    """Return whether a mask selects leaf k."""
    if mask is None or isinstance(mask, bool):
        return mask is not False
    return mask[k]


def values(params: Sequence[Leaf]) -> Slot:
    """Return a copy of the values, to be written to."""
    return [list(leaf.values) for leaf in params]


def full(params: Sequence[Leaf], value: float) -> Slot:
    """Return a slot that holds one value everywhere."""
    return [[value] * len(leaf.values) for leaf in params]


def zeros(params: Sequence[Leaf]) -> Slot:
    """Return a slot of zeros."""
    return full(params, 0.0)


def leaves(params: Sequence[Leaf], p: Slot) -> list[Leaf]:
    """Return the values p, copied, as leaves of the shapes of the parameters."""
    return [Leaf(leaf.shape, list(p[k])) for k, leaf in enumerate(params)]


def present(params: Sequence[Leaf], gradient: Gradient) -> Iterator[tuple[int, list[float]]]:
    """Yield k and the values for each leaf that has a gradient."""
    for k, (leaf, g) in enumerate(zip(params, gradient, strict=True)):
        if g is None:
            continue
        if g.shape != leaf.shape:
            raise ValueError(f"The gradient of leaf {k} has shape {g.shape}, its parameter {leaf.shape}.")
        yield k, g.values


def elements(params: Sequence[Leaf], gradient: Gradient) -> Iterator[tuple[int, int, float]]:
    """Yield k, i and g for each element that has a gradient g."""
    for k, gs in present(params, gradient):
        for i, g in enumerate(gs):
            yield k, i, g
