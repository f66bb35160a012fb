"""Momentum: a decaying sum of the gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.numerics import abs_squared, zeros_like
from uniopt.transformation import GradientTransformation
from uniopt.typing import Array, Scalar, Tree


class TraceState(NamedTuple):
    """The decaying sum of the gradients."""

    trace: Tree  # like the parameters


class UndampenedTraceState(NamedTuple):
    """The decaying sum, and whether a leaf has had no gradient yet."""

    is_initial_step: Tree  # one bool a leaf, shape ()
    trace: Tree  # like the parameters


def trace(
    decay: Scalar,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    *,
    dampening: Scalar = 0.0,
    undampened_first_step: bool = False,
) -> GradientTransformation:
    r"""Replace each gradient by a decaying sum of those so far.

    .. math::

        m_t = (1 - \tau) g_t + \mu m_{t-1}, \qquad u_t = m_t \quad\text{or, with Nesterov,}\quad u_t = g_t + \mu m_t

    Parameters
    ----------
    decay
        :math:`\mu`, the share of the sum that is kept, not below 0; with 1 nothing is forgotten.
    nesterov
        Whether to look one step ahead.
    accumulator_dtype
        Dtype of the sum; by default that of the parameters, float32 for 16-bit ones.
    dampening
        :math:`\tau`, the share of each gradient that is left out, in [0, 1).
    undampened_first_step
        Whether a leaf's first gradient is taken whole, as in torch; mlx dampens it too.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """
    undampened_first_step = hyperparameters.switch("undampened_first_step", undampened_first_step)
    remembers_first = undampened_first_step and not (isinstance(dampening, int | float) and dampening == 0)
    return leafwise(
        UndampenedTraceState if remembers_first else TraceState,
        _init_undampened if remembers_first else _init,
        _trace,
        decay=hyperparameters.nonnegative("decay", decay),
        nesterov=hyperparameters.switch("nesterov", nesterov),
        accumulator_dtype=hyperparameters.dtype("accumulator_dtype", accumulator_dtype),
        dampening=hyperparameters.decay_rate("dampening", dampening),
        undampened_first_step=remembers_first,
    )


def _init(xp: Any, p: Array, *, accumulator_dtype: Any) -> dict[str, Array]:
    return {"trace": zeros_like(xp, p, accumulator_dtype)}


def _init_undampened(xp: Any, p: Array, *, accumulator_dtype: Any) -> dict[str, Array]:
    zero = xp.zeros_like(xp.sum(abs_squared(xp, p)))
    return {"is_initial_step": zero == 0, **_init(xp, p, accumulator_dtype=accumulator_dtype)}


def _trace(
    xp: Any, g: Array, s: Any, *, decay: Scalar, nesterov: bool, dampening: Scalar, undampened_first_step: bool
) -> tuple[Array, Any]:
    damped = g if isinstance(dampening, float) and dampening == 0.0 else (1 - dampening) * g
    if undampened_first_step:
        damped = xp.where(s.is_initial_step, g, damped)
    m = damped + decay * s.trace
    after = UndampenedTraceState(xp.zeros_like(s.is_initial_step), m) if undampened_first_step else TraceState(m)
    return (g + decay * m if nesterov else m), after
