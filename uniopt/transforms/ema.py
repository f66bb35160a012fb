"""A running mean of the gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average
from uniopt.numerics import zeros_like
from uniopt.transformation import GradientTransformation
from uniopt.typing import Array, Scalar, Tree


class EmaState(NamedTuple):
    """The running mean of the gradients."""

    count: Array  # int32, shape ()
    ema: Tree  # like the parameters


def ema(decay: Scalar, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    r"""Replace each gradient by the running mean of those so far.

    .. math::

        m_t = \beta m_{t-1} + (1 - \beta) g_t, \qquad u_t = m_t / (1 - \beta^t)

    Parameters
    ----------
    decay
        :math:`\beta` in [0, 1).
    debias
        Whether to divide by :math:`1 - \beta^t`, which takes out the bias of the start at zero.
    accumulator_dtype
        Dtype of the mean; by default that of the parameters, float32 for 16-bit ones.
    """
    return leafwise(
        EmaState,
        _init,
        _ema,
        decay=hyperparameters.decay_rate("decay", decay),
        debias=debias,
        accumulator_dtype=hyperparameters.dtype("accumulator_dtype", accumulator_dtype),
    )


def _init(xp: Any, p: Array, *, accumulator_dtype: Any) -> dict[str, Array]:
    return {"ema": zeros_like(xp, p, accumulator_dtype)}


def _ema(xp: Any, g: Array, s: EmaState, *, t: Time, decay: Scalar, debias: bool) -> tuple[Array, EmaState]:
    mean = average(decay, s.ema, g)
    return (mean / t.bias_correction(decay) if debias else mean), s._replace(ema=mean)
