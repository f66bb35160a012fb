"""Scaling each leaf's update by how large its parameters are."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.norms import norm, root_mean_square
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Scalar


def scale_by_trust_ratio(
    min_norm: Scalar = 0.0, trust_coefficient: Scalar = 1.0, eps: Scalar = 0.0
) -> GradientTransformation:
    r"""Scale each leaf by the ratio of its parameters' norm to its update's norm.

    .. math::

        u = g\, \frac{c\, \lVert p \rVert}{\lVert g \rVert + \varepsilon}, \qquad u = g \text{ where either norm is } 0

    Parameters
    ----------
    min_norm
        Least value that both norms are given.
    trust_coefficient
        :math:`c`.
    eps
        :math:`\varepsilon`.

    References
    ----------
    You et al., "Large batch optimization for deep learning", ICLR 2020, arXiv:1904.00962.
    """
    return leafwise(
        EmptyState,
        None,
        _scale_by_trust_ratio,
        min_norm=hyperparameters.nonnegative("min_norm", min_norm),
        trust_coefficient=hyperparameters.nonnegative("trust_coefficient", trust_coefficient),
        eps=hyperparameters.nonnegative("eps", eps),
    )


def scale_by_param_block_norm(min_scale: Scalar = 1e-3) -> GradientTransformation:
    r"""Scale each leaf by the norm of its parameters: :math:`u = g \max(\lVert p \rVert, s)`.

    Parameters
    ----------
    min_scale
        :math:`s`, the least factor.
    """
    return leafwise(
        EmptyState, None, _scale_by_param_block_norm, min_scale=hyperparameters.nonnegative("min_scale", min_scale)
    )


def scale_by_param_block_rms(min_scale: Scalar = 1e-3) -> GradientTransformation:
    r"""Scale each leaf by the root mean square of its parameters: :math:`u = g \max(\mathrm{rms}(p), s)`.

    Parameters
    ----------
    min_scale
        :math:`s`, the least factor.
    """
    return leafwise(
        EmptyState, None, _scale_by_param_block_rms, min_scale=hyperparameters.nonnegative("min_scale", min_scale)
    )


def trust_ratio(xp: Any, p: Array, g: Array, min_norm: Scalar, trust_coefficient: Scalar, eps: Scalar) -> Array:
    """Return the factor of `scale_by_trust_ratio`, a 0-d array."""
    p_norm, g_norm = norm(xp, p, min_norm), norm(xp, g, 0.0)
    # An update of 0 stays 0, whatever the bound: divided by it, the ratio could be infinite.
    either_zero = (p_norm == 0) | (g_norm == 0)
    divisor = xp.where(either_zero, xp.ones_like(g_norm), xp.maximum(g_norm, min_norm) + eps)
    return xp.where(either_zero, xp.ones_like(p_norm), trust_coefficient * p_norm / divisor)


def _scale_by_trust_ratio(
    xp: Any, g: Array, s: EmptyState, *, p: Array, min_norm: Scalar, trust_coefficient: Scalar, eps: Scalar
) -> tuple[Array, EmptyState]:
    return g * trust_ratio(xp, p, g, min_norm, trust_coefficient, eps), s


def _scale_by_param_block_norm(
    xp: Any, g: Array, s: EmptyState, *, p: Array, min_scale: Scalar
) -> tuple[Array, EmptyState]:
    return g * norm(xp, p, min_scale), s


def _scale_by_param_block_rms(
    xp: Any, g: Array, s: EmptyState, *, p: Array, min_scale: Scalar
) -> tuple[Array, EmptyState]:
    return g * root_mean_square(xp, p, min_scale), s
