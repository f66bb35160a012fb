"""Limiting the size of updates."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.norms import norm, root_mean_square
from uniopt.numerics import require_order
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Scalar


def clip(max_delta: Scalar) -> GradientTransformation:
    r"""Limit every element by itself: :math:`u = \min(\max(g, -d), d)`.

    Parameters
    ----------
    max_delta
        :math:`d`, not below 0.

    Raises
    ------
    DtypeKindError
        At update, for a complex leaf: complex numbers have no order. Limit their norm instead.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.clip(1.0)
    >>> grads = np.asarray([0.5, -3.0])
    >>> tx.update(grads, tx.init(grads))[0]
    array([ 0.5, -1. ])
    """
    return leafwise(EmptyState, None, _clip, max_delta=hyperparameters.nonnegative("max_delta", max_delta))


def clip_by_block_rms(threshold: Scalar) -> GradientTransformation:
    r"""Scale a leaf down if its root mean square is above a threshold.

    .. math::

        u = g / \max\left(1, \mathrm{rms}(g) / d\right)

    Parameters
    ----------
    threshold
        :math:`d`, above 0.

    References
    ----------
    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", ICML 2018, arXiv:1804.04235.
    """
    return leafwise(EmptyState, None, _clip_by_block_rms, threshold=hyperparameters.positive("threshold", threshold))


def clip_by_block_norm(max_norm: Scalar) -> GradientTransformation:
    r"""Scale a leaf down if its norm is above a bound, each leaf by itself.

    .. math::

        u = g \min\left(1, c / \lVert g \rVert\right)

    Parameters
    ----------
    max_norm
        :math:`c`, above 0.

    Notes
    -----
    It is what keras does with a `clipnorm`. A norm of NaN makes the leaf NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.clip_by_block_norm(1.0)
    >>> grads = {"w": np.asarray([3.0, 4.0]), "b": np.asarray([0.5])}
    >>> tx.update(grads, tx.init(grads))[0]
    {'w': array([0.6, 0.8]), 'b': array([0.5])}
    """
    return leafwise(EmptyState, None, _clip_by_block_norm, max_norm=hyperparameters.positive("max_norm", max_norm))


def _clip(xp: Any, g: Array, s: EmptyState, *, max_delta: Scalar) -> tuple[Array, EmptyState]:
    require_order(g, "clip")
    return xp.maximum(xp.minimum(g, max_delta), -max_delta), s


def _clip_by_block_rms(xp: Any, g: Array, s: EmptyState, *, threshold: Scalar) -> tuple[Array, EmptyState]:
    return g / xp.maximum(root_mean_square(xp, g) / threshold, 1.0), s


def _clip_by_block_norm(xp: Any, g: Array, s: EmptyState, *, max_norm: Scalar) -> tuple[Array, EmptyState]:
    return g * (max_norm / norm(xp, g, max_norm)), s
