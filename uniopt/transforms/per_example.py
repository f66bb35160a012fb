"""Limiting how much each example of a batch adds to the gradient."""

from __future__ import annotations

import math
from typing import Any

from uniopt import hyperparameters
from uniopt.errors import ShapeError
from uniopt.norms import meeting, root, squared_norms, sum_of_squares
from uniopt.step import Step
from uniopt.typing import Array, Scalar, Tree


def per_example_global_norm_clip(grads: Tree, l2_norm_clip: Scalar) -> tuple[Tree, Array]:
    r"""Add up the gradients of a batch, each scaled down if its norm is above a bound.

    .. math::

        u = \sum_i g_i \min\left(1, \frac{c}{\lVert g_i \rVert}\right)

    Parameters
    ----------
    grads
        The gradients of all examples, stacked along the first axis of each leaf.
    l2_norm_clip
        :math:`c`, not below 0, for the norm of an example's gradient over all leaves.

    Returns
    -------
    tuple
        The sum, a tree without the axis of examples, and how many examples were scaled down, a 0-d int32 array.

    Raises
    ------
    ShapeError
        If a leaf has no first axis, or one of another length than the others.
    HyperparameterError
        If the bound is negative.

    References
    ----------
    Abadi et al., "Deep learning with differential privacy", CCS 2016, arXiv:1607.00133.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> grads = {"w": np.asarray([[3.0, 0.0], [0.1, 0.2]]), "b": np.asarray([4.0, 0.2])}
    >>> uniopt.per_example_global_norm_clip(grads, 1.0)
    ({'w': array([0.7, 0.2]), 'b': array(1.)}, array(1, dtype=int32))
    """
    step, leaves, _ = Step.of_update(grads, None, names=("grads", ""))
    sums, clipped = clipped_sum(step, leaves, hyperparameters.nonnegative("l2_norm_clip", l2_norm_clip))
    return step.rebuild(step.narrow(sums)), clipped


def per_example_layer_norm_clip(grads: Tree, global_l2_norm_clip: Scalar, uniform: bool = True) -> tuple[Tree, Tree]:
    r"""Add up the gradients of a batch, each leaf of each scaled down by itself if its norm is above its bound.

    The bounds of the leaves, squared, add up to the square of the one for all: :math:`c_k = c / \sqrt{K}` for
    :math:`K` leaves, or :math:`c_k = c \sqrt{D_k / D}` for a leaf with :math:`D_k` of the :math:`D` parameters.

    Parameters
    ----------
    grads
        The gradients of all examples, stacked along the first axis of each leaf.
    global_l2_norm_clip
        :math:`c`, not below 0.
    uniform
        Whether all leaves have the same bound; else it grows with their size.

    Returns
    -------
    tuple
        The sum, a tree without the axis of examples, and how many examples were scaled down in each leaf, a tree of
        0-d int32 arrays.

    Raises
    ------
    ShapeError
        If a leaf has no first axis, or one of another length than the others.
    HyperparameterError
        If the bound is negative.

    References
    ----------
    McMahan et al., "Learning differentially private recurrent language models", ICLR 2018, arXiv:1710.06963.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> grads = {"w": np.asarray([[3.0, 0.0], [0.1, 0.2]]), "b": np.asarray([4.0, 0.2])}
    >>> uniopt.per_example_layer_norm_clip(grads, np.sqrt(2.0))
    ({'w': array([1.1, 0.2]), 'b': array(1.2)}, {'w': array(1, dtype=int32), 'b': array(1, dtype=int32)})
    """
    limit = hyperparameters.nonnegative("global_l2_norm_clip", global_l2_norm_clip)
    step, leaves, _ = Step.of_update(grads, None, names=("grads", ""))
    batch_size(step, leaves)
    sizes = [0 if g is None else math.prod(g.shape[1:]) for g in leaves]
    layers = sum(g is not None for g in leaves)
    sums: list[Any] = [None] * len(leaves)
    counts: list[Any] = [None] * len(leaves)
    for i, (g, place, size) in enumerate(zip(leaves, step.places, sizes, strict=True)):
        if g is not None and place is not None:
            share = 1 / layers if uniform else size / max(sum(sizes), 1)
            factors, counts[i] = _factors(step, squared_norms(step.xp, g), math.sqrt(share) * place.bring(limit))
            sums[i] = _weighted_sum(step.xp, g, factors)
    return step.rebuild(step.narrow(sums)), step.rebuild(counts)


def clipped_sum(step: Step, leaves: list[Any], limit: Scalar) -> tuple[list[Any], Array]:
    """Return what `per_example_global_norm_clip` returns, of leaves that are apart already."""
    if (where := meeting(step.places)) is None:
        return leaves, step.counter()
    batch_size(step, leaves)
    squared = sum_of_squares(step, leaves, where, per_example=True)
    factors, clipped = _factors(step, squared, where.bring(limit))
    return [
        None if g is None or place is None else _weighted_sum(step.xp, g, place.bring(factors))
        for g, place in zip(leaves, step.places, strict=True)
    ], clipped


def batch_size(step: Step, leaves: list[Any], params: list[Any] | None = None) -> int:
    """Return how many examples the leaves have gradients of; ShapeError if they do not agree, or fit no parameter."""
    root = None if params is None else "updates"
    first: int | None = None
    for i, g in enumerate(leaves):
        if g is None:
            continue
        if g.ndim == 0 or g.shape[0] == 0 or (params is not None and g.shape == params[i].shape):
            raise ShapeError(
                f"{step.path(i, root)} has shape {tuple(g.shape)}, expected gradients of one or more examples along a "
                "first axis. Pass the gradient of each example, not their sum."
            )
        first = i if first is None else first
        if g.shape[0] != leaves[first].shape[0]:
            raise ShapeError(
                f"{step.path(i, root)} has shape {tuple(g.shape)}, {step.path(first, root)} has shape "
                f"{tuple(leaves[first].shape)}. Expected as many examples along the first axis of each."
            )
    return 1 if first is None else int(leaves[first].shape[0])


def _factors(step: Step, squared: Array, limit: Scalar) -> tuple[Array, Array]:
    """Return what each example is multiplied by, and how many of them are changed by it."""
    xp, int32 = step.xp, step.xp.int32
    norm = root(xp, squared)
    over = norm > limit  # not where the norm is NaN
    one = xp.ones_like(norm)
    factors = xp.where(over, limit / xp.where(over, norm, one), one)
    return factors, step.backend.astype(xp.sum(step.backend.astype(over, int32)), int32)


def _weighted_sum(xp: Any, g: Array, factors: Array) -> Array:
    return xp.sum(g * xp.reshape(factors, (g.shape[0], *[1] * (g.ndim - 1))), axis=0)
