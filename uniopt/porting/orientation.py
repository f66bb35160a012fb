"""Which axis of a matrix has the outputs, where weights were transposed on their way into a tree."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from uniopt.chain import Chain
from uniopt.hyperparameters import PerLeaf
from uniopt.leafwise import Leafwise
from uniopt.optimizers.newton_schulz import MuonDimensionNumbers
from uniopt.porting.layout import Layout
from uniopt.transformation import GradientTransformation, Stage, stage_of, transformation

_OUTPUTS_FIRST, _OUTPUTS_LAST = MuonDimensionNumbers(1, 0), MuonDimensionNumbers(0, 1)


def oriented(tx: GradientTransformation, layout: Layout) -> GradientTransformation:
    """Return a transformation for arrays with outputs first as one for the leaves of a layout."""
    turned = [_is_transposed(layout, i) for i in range(len(layout.sources))]
    if not any(turned):
        return tx
    numbers = layout.to_tree([_OUTPUTS_LAST if x else _OUTPUTS_FIRST for x in turned])
    return transformation(_with_numbers(stage_of(tx), numbers))


def _with_numbers(stage: Stage, numbers: Any) -> Stage:
    if isinstance(stage, Chain):
        return dataclasses.replace(stage, stages=tuple(_with_numbers(part, numbers) for part in stage.stages))
    if isinstance(stage, Leafwise) and stage.name == "scale_by_shape":
        hyper = {**stage.hyper, "weight_dimension_numbers": PerLeaf(numbers)}
        return dataclasses.replace(stage, hyper=hyper)
    return stage


def _is_transposed(layout: Layout, i: int) -> bool:
    source = layout.sources[i]
    shape = layout.shapes[source.names[0]]
    if source.positions is None or len(source.names) > 1 or len(shape) != 2:
        return False
    as_it_was = np.arange(source.positions.size).reshape(shape)
    return bool(np.array_equal(source.positions, as_it_was.T)) and not np.array_equal(source.positions, as_it_was)
