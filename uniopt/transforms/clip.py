"""Limiting the size of updates."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.norms import root_mean_square
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Scalar


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


def _clip_by_block_rms(xp: Any, g: Array, s: EmptyState, *, threshold: Scalar) -> tuple[Array, EmptyState]:
    return g / xp.maximum(root_mean_square(xp, g) / threshold, 1.0), s
