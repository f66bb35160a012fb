"""Momentum: a decaying sum of the gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.numerics import zeros_like
from uniopt.transformation import GradientTransformation
from uniopt.typing import Array, Scalar, Tree


class TraceState(NamedTuple):
    """The decaying sum of the gradients."""

    trace: Tree  # like the parameters


def trace(decay: Scalar, nesterov: bool = False, accumulator_dtype: Any = None) -> GradientTransformation:
    r"""Replace each gradient by a decaying sum of those so far.

    .. math::

        m_t = g_t + \mu m_{t-1}, \qquad u_t = m_t \quad\text{or, with Nesterov,}\quad u_t = g_t + \mu m_t

    Parameters
    ----------
    decay
        :math:`\mu`, the share of the sum that is kept, in [0, 1).
    nesterov
        Whether to look one step ahead.
    accumulator_dtype
        Dtype of the sum; by default that of the parameters, float32 for 16-bit ones.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """
    return leafwise(
        TraceState,
        _init,
        _trace,
        decay=hyperparameters.decay_rate("decay", decay),
        nesterov=nesterov,
        accumulator_dtype=hyperparameters.dtype("accumulator_dtype", accumulator_dtype),
    )


def _init(xp: Any, p: Array, *, accumulator_dtype: Any) -> dict[str, Array]:
    return {"trace": zeros_like(xp, p, accumulator_dtype)}


def _trace(xp: Any, g: Array, s: TraceState, *, decay: Scalar, nesterov: bool) -> tuple[Array, TraceState]:
    m = g + decay * s.trace
    return (g + decay * m if nesterov else m), s._replace(trace=m)
