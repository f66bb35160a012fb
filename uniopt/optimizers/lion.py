r"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.leafwise import leafwise
from uniopt.moments import average
from uniopt.numerics import zeros_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule, Tree


class ScaleByLionState(NamedTuple):
    """The momentum."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters, in mu_dtype


def scale_by_lion(
    b1: Scalar = 0.9, b2: Scalar = 0.99, mu_dtype: Any = None, *, mode: str = "hard", smooth_beta: Scalar = 1.0
) -> GradientTransformation:
    r"""Replace the gradients by Lion's signs, without a learning rate; see `lion` for formula and parameters.

    Parameters
    ----------
    b1, b2, mu_dtype
        As in `lion`.
    mode
        What is made of the interpolated momentum :math:`x`: its sign, ``"hard"``; :math:`\tanh(\kappa x)`,
        ``"smooth"``; or :math:`x` itself where it is within (-1, 1), else its sign, ``"refined"``.
    smooth_beta
        :math:`\kappa`.
    """
    return leafwise(
        ScaleByLionState,
        _init,
        _scale_by_lion,
        b1=hyperparameters.decay_rate("b1", b1),
        b2=hyperparameters.decay_rate("b2", b2),
        mu_dtype=hyperparameters.dtype("mu_dtype", mu_dtype),
        mode=hyperparameters.one_of("mode", mode, ("hard", "smooth", "refined")),
        smooth_beta=hyperparameters.number("smooth_beta", smooth_beta),
    )


def lion(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.99,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-3,
    mask: Mask | None = None,
) -> GradientTransformation:
    r"""Steps of one size in the direction of an interpolated momentum's signs, with decoupled weight decay.

    .. math::

        u_t &= -\eta_t \left( \mathrm{sign}(\beta_1 m_{t-1} + (1 - \beta_1) g_t) + \lambda p_{t-1} \right) \\
        m_t &= \beta_2 m_{t-1} + (1 - \beta_2) g_t

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    b1
        :math:`\beta_1` in [0, 1): weight of the momentum in the direction.
    b2
        :math:`\beta_2` in [0, 1): decay rate of the momentum.
    mu_dtype
        Dtype of :math:`m`; by default that of the parameters, float32 for 16-bit ones.
    weight_decay
        :math:`\lambda`: a number, a 0-d array, or a schedule. It is multiplied by the learning rate.
    mask
        Which parameters decay: a tree of bools, a prefix of one, or a function from the parameters to one.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByLionState`: ``count`` (int32), and ``mu`` in `mu_dtype`. Its ``update`` needs the
        parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax, mlx and keras are the same but for the weight decay, 0 by default in mlx and keras. torch does not have it.

    References
    ----------
    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, arXiv:2302.06675.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.lion(0.1, weight_decay=0.0)
    >>> params = np.asarray([3.0, -0.5])
    >>> tx.update(params, tx.init(params), params)[0]
    array([-0.1,  0.1])
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def _init(xp: Any, p: Array, *, mu_dtype: Any) -> dict[str, Array]:
    return {"mu": zeros_like(xp, p, mu_dtype)}


def _scale_by_lion(
    xp: Any, g: Array, s: ScaleByLionState, *, b1: Scalar, b2: Scalar, mode: str, smooth_beta: Scalar
) -> tuple[Array, ScaleByLionState]:
    direction = average(b1, s.mu, g)
    if mode == "smooth":
        direction = xp.tanh(smooth_beta * direction)
    elif mode == "refined":
        direction = xp.where(xp.abs(direction) < 1.0, direction, xp.sign(direction))
    else:
        direction = xp.sign(direction)
    return direction, s._replace(mu=average(b2, s.mu, g))
