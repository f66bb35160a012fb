r"""Adadelta: steps in the units of the parameters, without a learning rate of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.leafwise import leafwise
from uniopt.moments import average
from uniopt.numerics import abs_squared, nonzero, real_full_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.scale import identity, scale_by_learning_rate
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule, Tree


class ScaleByAdaDeltaState(NamedTuple):
    """The second moments of the gradients and of the updates."""

    e_g: Tree  # like the parameters, real
    e_x: Tree  # like the parameters, real


def scale_by_adadelta(rho: Scalar = 0.9, eps: Scalar = 1e-6) -> GradientTransformation:
    """Rescale the gradients by Adadelta's rule; see `adadelta` for formula and parameters."""
    return leafwise(
        ScaleByAdaDeltaState,
        _init,
        _scale_by_adadelta,
        rho=hyperparameters.decay_rate("rho", rho),
        eps=hyperparameters.positive("eps", eps),
    )


def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: Scalar = 0.9,
    eps: Scalar = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformation:
    r"""Steps scaled by the ratio of past updates to past gradients.

    With :math:`\tilde g_t = g_t + \lambda p_{t-1}`,

    .. math::

        E_t &= \rho E_{t-1} + (1 - \rho) |\tilde g_t|^2 \\
        d_t &= \frac{\sqrt{X_{t-1} + \varepsilon}}{\sqrt{E_t + \varepsilon}}\, \tilde g_t, \qquad u_t = -\eta_t d_t \\
        X_t &= \rho X_{t-1} + (1 - \rho) |d_t|^2

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count; None leaves the result as it is, not
        even negated.
    rho
        :math:`\rho` in [0, 1): decay rate of the moments.
    eps
        :math:`\varepsilon`, above 0: without it, nothing would ever move.
    weight_decay
        :math:`\lambda`, coupled: it is added to the gradients.
    weight_decay_mask
        Which parameters decay: a tree of bools, a prefix of one, or a function from the parameters to one.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdaDeltaState`: ``e_g`` and ``e_x`` in the parameters' dtype, float32 for 16-bit ones;
        both are real. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax and mlx are the same, and torch, where the learning rate is 1 by default. keras decays by 0.95 and has an
    epsilon of 1e-7; its weight decay is decoupled. mlx has none.

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012, arXiv:1212.5701.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adadelta(1.0)
    >>> params = np.asarray([3.0, -0.5])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([-0.003162,  0.003162])
    """
    return chain(
        add_decayed_weights(weight_decay, hyperparameters.mask("weight_decay_mask", weight_decay_mask)),
        scale_by_adadelta(rho, eps),
        identity() if learning_rate is None else scale_by_learning_rate(learning_rate),
    )


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"e_g": real_full_like(xp, p), "e_x": real_full_like(xp, p)}


def _scale_by_adadelta(
    xp: Any, g: Array, s: ScaleByAdaDeltaState, *, rho: Scalar, eps: Scalar
) -> tuple[Array, ScaleByAdaDeltaState]:
    e_g = average(rho, s.e_g, abs_squared(xp, g))
    update = xp.sqrt(s.e_x + eps) / nonzero(xp, xp.sqrt(e_g + eps), eps) * g
    return update, s._replace(e_g=e_g, e_x=average(rho, s.e_x, abs_squared(xp, update)))
