"""Where the axes of parameters went on their way into a tree, which optimizers of whole parameters ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np

from uniopt.chain import Chain
from uniopt.errors import PortingError
from uniopt.hyperparameters import PerLeaf
from uniopt.leafwise import Leafwise
from uniopt.optimizers.newton_schulz import MuonDimensionNumbers
from uniopt.porting.layout import Layout
from uniopt.transformation import GradientTransformation, Stage, stage_of, transformation
from uniopt.transforms.decay_first import DecayFirst
from uniopt.transforms.partition import Partition

_NUMBERS = "weight_dimension_numbers"


def oriented(tx: GradientTransformation, layout: Layout, leaves: Collection[int]) -> GradientTransformation:
    """Return a transformation for named arrays as one for some leaves, whose axes may be in another order."""
    orders = [_order(layout, i) if i in leaves else None for i in layout.leaves]
    if all(order is None or order == tuple(range(len(order))) for order in orders):
        return tx
    return transformation(_turned(stage_of(tx), layout, orders))


def check_whole(layout: Layout, leaves: Collection[int], optimizer: str, framework: str) -> None:
    """Raise PortingError if an optimizer computes something of whole parameters that some leaves do not show any more.

    Muon asks for matrices, Adafactor for sizes and for the last two axes, Lamb and Keras's `clipnorm` for norms.
    """
    kept = _KEPT.get(optimizer)
    for i in leaves:
        if kept is not None and not kept(layout, i):
            raise PortingError(
                f"{layout.paths[i]} is made of {' and '.join(layout.sources[i].names)}, but {framework}.{optimizer} "
                f"depends on {_DEPENDS_ON[optimizer]}. Convert each parameter into a leaf of its own that keeps them."
            )


def _keeps_matrix(layout: Layout, i: int) -> bool:
    return _is_no_matrix(layout, i) or _order(layout, i) is not None


def _keeps_last_axes(layout: Layout, i: int) -> bool:
    if _is_no_matrix(layout, i):
        return _is_one(layout, i)
    order = _order(layout, i)
    return order is not None and set(order[-2:]) == {len(order) - 2, len(order) - 1}


def _is_one(layout: Layout, i: int) -> bool:
    """Return whether a leaf has all elements of one array, and no others."""
    names = layout.sources[i].names
    return len(names) == 1 and np.prod(layout.leaf_shape(i)) == np.prod(layout.shapes[names[0]])


def _is_no_matrix(layout: Layout, i: int) -> bool:
    """Return whether a leaf, and all that it is made of, have less than two axes."""
    shapes = [layout.leaf_shape(i), *(layout.shapes[name] for name in layout.sources[i].names)]
    return all(len(shape) < 2 for shape in shapes)


_KEPT = {"Muon": _keeps_matrix, "Adafactor": _keeps_last_axes, "Lamb": _is_one, "clipnorm": _is_one}
_DEPENDS_ON = {
    "Muon": "the matrix that each parameter is, whose axes may change places",
    "Adafactor": "the size of each parameter and on its last two axes, which may change places",
    "Lamb": "the norm of each parameter",
    "clipnorm": "the norm of each gradient",
}


def _order(layout: Layout, i: int) -> tuple[int, ...] | None:
    """Return for each axis of a leaf which one of its array it is; None if it is made otherwise.

    Rows, or columns, may be in another order among themselves.
    """
    if not _is_one(layout, i):
        return None
    positions, shape = layout.sources[i].positions, layout.shapes[layout.sources[i].names[0]]
    left = list(range(len(shape)))
    if positions is None:
        return tuple(left)
    order = []
    coordinates = np.indices(shape).reshape(len(shape), positions.size)[:, positions]
    for axis, length in enumerate(positions.shape):
        found = [other for other in left if shape[other] == length and _follows(coordinates[other], axis)]
        if not found:
            return None
        order.append(found[0])
        left.remove(found[0])
    return None if left else tuple(order)


def _follows(coordinates: Any, axis: int) -> bool:
    """Return whether coordinates are the same wherever that along an axis is."""
    along = tuple(slice(None) if other == axis else slice(1) for other in range(coordinates.ndim))
    return np.array_equal(np.broadcast_to(coordinates[along], coordinates.shape), coordinates)


def _turned(stage: Stage, layout: Layout, orders: list[tuple[int, ...] | None]) -> Stage:
    """Return a stage with the axes of matrices where they are in the leaves."""
    if isinstance(stage, Chain):
        return dataclasses.replace(stage, stages=tuple(_turned(part, layout, orders) for part in stage.stages))
    if isinstance(stage, Partition):
        parts = {label: _turned(part, layout, orders) for label, part in stage.stages.items()}
        return dataclasses.replace(stage, stages=parts)
    if isinstance(stage, DecayFirst):
        return dataclasses.replace(stage, inner=_turned(stage.inner, layout, orders))
    if isinstance(stage, Leafwise) and _NUMBERS in stage.hyper:
        of_arrays = stage.hyper[_NUMBERS].values
        numbers = [_moved(of_arrays, order, layout, i) for i, order in enumerate(orders)]
        return dataclasses.replace(stage, hyper={**stage.hyper, _NUMBERS: PerLeaf(layout.to_tree(numbers))})
    return stage


def _moved(of_arrays: Any, order: tuple[int, ...] | None, layout: Layout, i: int) -> MuonDimensionNumbers:
    """Return the dimension numbers of a leaf, given those of the arrays or the function that makes them."""
    if order is None or len(order) < 2:  # which is no matrix
        return MuonDimensionNumbers()
    array = np.broadcast_to(np.float32(0), layout.shapes[layout.sources[i].names[0]])
    numbers = of_arrays(array) if callable(of_arrays) else of_arrays
    reduction, output = (
        [order.index(axis % len(order)) for axis in axes] for axes in (numbers.reduction_axis, numbers.output_axis)
    )
    return MuonDimensionNumbers(reduction, output)
