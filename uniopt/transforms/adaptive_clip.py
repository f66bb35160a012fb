"""Limiting the gradient of each unit of a layer relative to the unit's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.leafwise import leafwise
from uniopt.norms import root
from uniopt.numerics import abs_squared
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Scalar

_LEAST_NORM = 1e-6  # optax's: shorter gradients are scaled down less


def adaptive_grad_clip(
    clipping: Scalar, eps: Scalar = 1e-3, axis: int | Sequence[int] | None = None
) -> GradientTransformation:
    r"""Scale the gradient of a unit down if its norm is above a share of the norm of the unit's parameters.

    .. math::

        u = g \frac{c}{\max(\lVert g \rVert, 10^{-6})} \text{ where } \lVert g \rVert \ge c, \qquad
        c = \lambda \max(\lVert p \rVert, \varepsilon)

    A unit is what one output of a layer depends on: a column of a matrix, a kernel of a convolution.

    Parameters
    ----------
    clipping
        :math:`\lambda`, not below 0.
    eps
        :math:`\varepsilon`, the least norm of parameters, so that those which start at 0 can move.
    axis
        The axis or axes over which norms are taken, for each leaf. By default those of a layer whose outputs are the
        last axis: all of a leaf with at most one axis that is longer than 1, the first axis of other leaves of rank 2
        and 3, and all but the last axis of those of rank 4 and 5.

    Raises
    ------
    HyperparameterError
        If a number is outside its range; at update, if a leaf does not have the axes, or has no default.

    References
    ----------
    Brock et al., "High-performance large-scale image recognition without normalization", ICML 2021, arXiv:2102.06171.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adaptive_grad_clip(0.5)
    >>> params = np.asarray([[3.0, 1.0], [4.0, 0.0]])
    >>> grads = np.asarray([[1.0, 3.0], [1.0, 4.0]])
    >>> tx.update(grads, tx.init(params), params)[0]
    array([[1. , 0.3],
           [1. , 0.4]])
    """
    return leafwise(
        EmptyState,
        None,
        _adaptive_grad_clip,
        clipping=hyperparameters.nonnegative("clipping", clipping),
        eps=hyperparameters.nonnegative("eps", eps),
        axis=hyperparameters.axes("axis", axis),
    )


def _adaptive_grad_clip(
    xp: Any, g: Array, s: EmptyState, *, p: Array, clipping: Scalar, eps: Scalar, axis: tuple[int, ...] | None
) -> tuple[Array, EmptyState]:
    axes = _axes_of_unit(g.shape) if axis is None else axis
    if any(not -g.ndim <= a < g.ndim for a in axes):
        raise HyperparameterError(f"axis is {axis}, but the leaf has shape {tuple(g.shape)}. Mask it.")
    g_norm, p_norm = (_norms(xp, x, axes) for x in (g, p))
    limit = clipping * xp.maximum(p_norm, eps)
    return xp.where(g_norm < limit, g, g * (limit / xp.maximum(g_norm, _LEAST_NORM))), s


def _norms(xp: Any, x: Array, axes: tuple[int, ...]) -> Array:
    # An empty tuple is all axes to torch.
    return root(xp, xp.sum(abs_squared(xp, x), axis=axes, keepdims=True)) if axes else xp.abs(x)


def _axes_of_unit(shape: tuple[int, ...]) -> tuple[int, ...]:
    rank = len(shape)
    if sum(n != 1 for n in shape) <= 1:
        return tuple(range(rank))
    if rank > 5:
        raise HyperparameterError(
            f"adaptive_grad_clip has no default axes for a leaf of shape {tuple(shape)}. Give axis=..., or mask it."
        )
    return (0,) if rank <= 3 else tuple(range(rank - 1))
