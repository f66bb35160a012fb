"""Many small leaves as one long one."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from uniopt import tree
from uniopt.errors import StateError
from uniopt.place import Place
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, stage_of, transformation


def flatten(inner: GradientTransformation) -> GradientTransformation:
    """Let a transformation work on all leaves as one vector, which has less overhead where they are many and small.

    Parameters
    ----------
    inner
        The transformation. Its leaf is the vector of all elements, one leaf after another; where the leaves are of
        several dtypes or on several devices, its leaves are a tuple of vectors, one for each kind in order of first
        appearance.

    Returns
    -------
    GradientTransformation
        Its state is that of `inner` for the vectors.

    Notes
    -----
    What `inner` does leaf by leaf, such as trust ratios, it does for the vector as a whole. A gradient of ``None``
    is no part of it, so the parameters with gradients must stay the same. optax makes one vector of leaves
    of all dtypes, in the widest one.

    Compiled steps copy the leaves into vectors, and are faster without.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.flatten(uniopt.sgd(0.5, momentum=0.9))
    >>> grads = {"w": np.ones((2, 2)), "b": np.ones(1)}
    >>> state = tx.init(grads)
    >>> state[0].trace
    array([0., 0., 0., 0., 0.])
    >>> tx.update(grads, state)[0]
    {'w': array([[-0.5, -0.5],
           [-0.5, -0.5]]), 'b': array([-0.5])}
    """
    return transformation(Flatten(stage_of(inner)))


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(Stage):
    """The stage behind `flatten`."""

    inner: Stage

    def __repr__(self) -> str:
        return f"flatten({self.inner!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        groups = _groups(step)
        vectors = _joined(step, groups, params)
        return self.inner.init(_step_of(step, groups, vectors), vectors)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        groups = _groups(step)
        vectors = _joined(step, groups, updates)
        values = None if params is None else _joined(step, groups, params)
        try:
            transformed, after = self.inner.update(_step_of(step, groups, vectors), vectors, state, values, extra)
        except StateError as error:
            missing = ", ".join(step.path(i) for i, u in enumerate(updates) if u is None)
            if not missing:
                raise
            raise StateError(
                f"flatten was given no gradient for {missing}, and the vectors of its state have other sizes: {error} "
                "Expected gradients for the parameters that init was given: pass zeros, or call init with None there."
            ) from error
        results: list[Any] = list(updates)
        for (_, positions), vector in zip(groups, transformed, strict=True):
            ends = list(itertools.accumulate(math.prod(updates[i].shape) for i in positions))
            for i, start, end in zip(positions, [0, *ends], ends, strict=False):
                leaf = step.xp.reshape(vector[start:end], updates[i].shape)
                results[i] = step.backend.place(leaf, updates[i])  # a vector has another sharding than its parts
        return results, after


def _groups(step: Step) -> list[tuple[Place, list[int]]]:
    """Return each place, and the positions of the leaves that are there."""
    groups: dict[int, tuple[Place, list[int]]] = {}
    for i, place in enumerate(step.places):
        if place is not None:
            groups.setdefault(id(place), (place, []))[1].append(i)
    return list(groups.values())


def _joined(step: Step, groups: list[tuple[Place, list[int]]], leaves: list[Any]) -> list[Any]:
    """Return the vector of each group."""
    xp = step.xp
    return [xp.concat([xp.reshape(leaves[i], (-1,)) for i in positions]) for _, positions in groups]


def _step_of(step: Step, groups: list[tuple[Place, list[int]]], vectors: list[Any]) -> Step:
    """Return the step of the vectors: a tree that is one vector, or a tuple of several."""
    structure = tree.flatten(vectors[0] if len(vectors) == 1 else tuple(vectors))[1]
    places: list[Place | None] = [place for place, _ in groups]
    return Step(step.backend, structure, "params", vectors, places, [vector.dtype for vector in vectors])
