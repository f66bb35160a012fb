"""Adafactor: a second moment kept as row and column means."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, root_mean_square
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, leaves, present, selects, values, zeros

Index = tuple[int, ...]


def adafactor(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: float = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    momentum: float | None = None,
    weight_decay_rate: Rate | None = None,
    eps: float = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask = None,
) -> Iterator[list[Leaf]]:
    """Adafactor, each leaf as a whole: p <- p - (m + wd p), with m the average of u below (u itself without momentum).

    1. rho = 1 - max(1, t - offset)^-decay_rate;  s = g^2 + eps;
       factored: r <- rho r + (1 - rho) (mean of s over the columns);  c likewise over the rows;
                 v = r c / (mean of r over the rows);
       otherwise: v <- rho v + (1 - rho) s.
    2. u = g / sqrt(v);  u <- u / max(1, RMS(u) / clipping_threshold);  u <- lr u;  u <- u max(RMS(p), 1e-3).
    3. m <- momentum m + (1 - momentum) u.

    Rows and columns are the two largest axes (of equal ones the later), if the smaller of the two has at least
    min_dim_size_to_factor entries; the other axes number separate matrices.

    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", ICML 2018, arXiv:1804.04235,
    algorithms 4 and 5. There a matrix has sums instead of means, which is the same v. From optax come the choice of
    axes, the momentum after the scaling, and the decay, which is not multiplied by lr.
    """
    p, m = values(params), zeros(params)
    moments: list[_Full | _Factored] = []
    for leaf in params:
        axes = _axes(leaf.shape, min_dim_size_to_factor) if factored else None
        moments.append(_Full(leaf) if axes is None else _Factored(leaf.shape, *axes))
    for t, gradient in enumerate(gradients, start=1):
        rho = 1 - maximum(1.0, t - decay_offset) ** -decay_rate
        for k, g in present(params, gradient):
            if not g:
                continue  # an empty leaf has no mean
            v = moments[k].update(rho, [x * x + eps for x in g])
            u = [x / math.sqrt(y) for x, y in zip(g, v, strict=True)]
            if clipping_threshold is not None:
                excess = maximum(1.0, root_mean_square(u) / clipping_threshold)
                u = [x / excess for x in u]
            if learning_rate is not None:
                u = [at(learning_rate, t - 1) * x for x in u]
            if multiply_by_parameter_scale:
                scale = maximum(root_mean_square(p[k]), 1e-3)
                u = [x * scale for x in u]
            if momentum is not None:
                m[k] = [momentum * y + (1 - momentum) * x for x, y in zip(u, m[k], strict=True)]
                u = m[k]
            wd = 0.0
            if weight_decay_rate is not None and selects(weight_decay_mask, k):
                wd = at(weight_decay_rate, t - 1)
            p[k] = [x - (y + wd * x) for x, y in zip(p[k], u, strict=True)]
        yield leaves(params, p)


class _Full:
    """v, one number an element."""

    def __init__(self, leaf: Leaf) -> None:
        self.v = [0.0] * len(leaf.values)

    def update(self, rho: float, s: list[float]) -> list[float]:
        self.v = [rho * v + (1 - rho) * x for v, x in zip(self.v, s, strict=True)]
        return self.v


class _Factored:
    """r and c, by the index of the element without its column and without its row."""

    def __init__(self, shape: tuple[int, ...], row_axis: int, column_axis: int) -> None:
        self.shape, self.row_axis, self.column_axis = shape, row_axis, column_axis
        self.r: dict[Index, float] = {}
        self.c: dict[Index, float] = {}

    def update(self, rho: float, s: list[float]) -> list[float]:
        rows, columns = self.shape[self.row_axis], self.shape[self.column_axis]
        indices = list(product(*map(range, self.shape)))
        row_mean = dict.fromkeys(map(self._row, indices), 0.0)
        column_mean = dict.fromkeys(map(self._column, indices), 0.0)
        for index, x in zip(indices, s, strict=True):
            row_mean[self._row(index)] += x / columns
            column_mean[self._column(index)] += x / rows
        self.r = {j: rho * self.r.get(j, 0.0) + (1 - rho) * x for j, x in row_mean.items()}
        self.c = {j: rho * self.c.get(j, 0.0) + (1 - rho) * x for j, x in column_mean.items()}
        mean_r = dict.fromkeys(map(self._matrix, indices), 0.0)
        for j, x in self.r.items():
            mean_r[self._matrix(j)] += x / rows
        return [self.r[self._row(j)] * self.c[self._column(j)] / mean_r[self._matrix(j)] for j in indices]

    def _row(self, index: Index) -> Index:
        return _without(index, self.column_axis)

    def _column(self, index: Index) -> Index:
        return _without(index, self.row_axis)

    def _matrix(self, index: Index) -> Index:
        return _without(_without(index, self.row_axis), self.column_axis)


def _without(index: Index, axis: int) -> Index:
    """Return an index with 0 in the place of an axis."""
    return (*index[:axis], 0, *index[axis + 1 :])


def _axes(shape: tuple[int, ...], min_dim_size_to_factor: int) -> tuple[int, int] | None:
    """Return the second largest and the largest axis, or None if the shape is not to be factored."""
    if len(shape) < 2:
        return None
    *_, second, largest = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return (second, largest) if shape[second] >= min_dim_size_to_factor else None
