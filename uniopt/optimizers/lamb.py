r"""Layer-wise adaptation: LAMB, LARS and Fromage scale each leaf's step by the size of its parameters."""

from __future__ import annotations

import math
from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.leafwise import leafwise
from uniopt.optimizers.adam import scale_by_adam
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.mask import masked
from uniopt.transforms.scale import EmptyState, ScaleByScheduleState, scale_by_learning_rate
from uniopt.transforms.trace import trace
from uniopt.transforms.trust_ratio import scale_by_trust_ratio, trust_ratio
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule


def lamb(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-6,
    eps_root: Scalar = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformation:
    r"""Adam with weight decay, each leaf's step scaled to the norm of its parameters.

    .. math::

        d_t = \hat m_t / \left(\sqrt{\hat v_t + \bar\varepsilon} + \varepsilon\right) + \lambda p_{t-1}, \qquad
        u_t = -\eta_t\, \frac{\lVert p_{t-1} \rVert}{\lVert d_t \rVert}\, d_t

    with the moments of `adam`; the ratio is 1 where either norm is 0.

    Parameters
    ----------
    learning_rate, b1, b2, eps, eps_root
        As in `adam`.
    weight_decay
        :math:`\lambda`: a number, a 0-d array, or a schedule.
    mask
        Which parameters decay: a tree of bools, a prefix of one, or a function from the parameters to one.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState` in the dtypes of `adam`. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. keras.optimizers.Lamb decays the parameters before it takes their norm, and outside of the ratio.
    torch and mlx do not have it.

    References
    ----------
    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020, arXiv:1904.00962.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.lamb(0.1)
    >>> params = np.asarray([3.0, -4.0])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([-0.353553,  0.353553])
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = True,
    trust_coefficient: Scalar = 0.001,
    eps: Scalar = 0.0,
    trust_ratio_mask: Mask | None = True,
    momentum: Scalar = 0.9,
    nesterov: bool = False,
) -> GradientTransformation:
    r"""Gradient descent with momentum, each leaf's gradient scaled to the norm of its parameters.

    .. math::

        d_t &= g_t + \lambda p_{t-1}, \qquad
        r_t = \frac{c \lVert p_{t-1} \rVert}{\lVert d_t \rVert + \varepsilon} \\
        b_t &= \mu b_{t-1} - \eta_t r_t d_t, \qquad
        u_t = b_t \quad\text{or, with Nesterov,}\quad u_t = -\eta_t r_t d_t + \mu b_t

    where :math:`r_t` is 1 if either norm is 0.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    weight_decay
        :math:`\lambda`, coupled: a number, a 0-d array, or a schedule.
    weight_decay_mask
        Which parameters decay: a tree of bools, a prefix of one, or a function from the parameters to one.
    trust_coefficient
        :math:`c`.
    eps
        :math:`\varepsilon`.
    trust_ratio_mask
        Which leaves are scaled by :math:`r_t`, given like `weight_decay_mask`.
    momentum
        :math:`\mu` in [0, 1).
    nesterov
        Whether to look one step ahead.

    Returns
    -------
    GradientTransformation
        Its state holds `TraceState`: ``trace`` in the parameters' dtype, float32 for 16-bit ones. Its ``update`` needs
        the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    The learning rate is inside the momentum. optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017, arXiv:1708.03888.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.lars(0.1, trust_coefficient=1.0)
    >>> params = np.asarray([3.0, -4.0])
    >>> tx.update(2 * params, tx.init(params), params)[0].round(6)
    array([-0.3,  0.4])
    """
    return chain(
        add_decayed_weights(weight_decay, hyperparameters.mask("weight_decay_mask", weight_decay_mask)),
        masked(
            scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps),
            True if trust_ratio_mask is None else hyperparameters.mask("trust_ratio_mask", trust_ratio_mask),
        ),
        scale_by_learning_rate(learning_rate),
        trace(hyperparameters.decay_rate("momentum", momentum), nesterov),
    )


def fromage(learning_rate: ScalarOrSchedule, min_norm: Scalar = 1e-6) -> GradientTransformation:
    r"""Steps relative to each leaf's norm, which the shrinking of the parameters keeps from growing.

    .. math::

        \gamma_t = \frac{1}{\sqrt{1 + \eta_t^2}}, \qquad
        u_t = -\eta_t \gamma_t\, \frac{\lVert p_{t-1} \rVert}{\lVert g_t \rVert}\, g_t + (\gamma_t - 1)\, p_{t-1}

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    min_norm
        Least value that both norms are given.

    Returns
    -------
    GradientTransformation
        It has no state but the count of a schedule (int32). Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Bernstein et al., "On the distance between two neural networks and the stability of learning", NeurIPS 2020,
    arXiv:2002.03432.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.fromage(0.75)
    >>> params = np.asarray([3.0, -4.0])
    >>> tx.update(2 * params, tx.init(params), params)[0].round(6)
    array([-2.4,  3.2])
    """
    rate = hyperparameters.learning_rate(learning_rate)
    return leafwise(
        ScaleByScheduleState if callable(rate) else EmptyState,
        None,
        _fromage,
        learning_rate=rate,
        min_norm=hyperparameters.nonnegative("min_norm", min_norm),
    )


def _fromage(xp: Any, g: Array, s: Any, *, p: Array, learning_rate: Scalar, min_norm: Scalar) -> tuple[Array, Any]:
    length = 1.0 + learning_rate * learning_rate
    shrink = 1.0 / (math.sqrt(length) if isinstance(length, float) else xp.sqrt(length))
    ratio = trust_ratio(xp, p, g, min_norm, 1.0, 0.0)
    return (-learning_rate * shrink) * (g * ratio) + (shrink - 1.0) * p, s
