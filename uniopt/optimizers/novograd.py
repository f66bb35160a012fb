r"""NovoGrad: gradients normalised leaf by leaf before the momentum."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average, checked, root
from uniopt.numerics import abs_squared, zeros_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByNovogradState(NamedTuple):
    """The momentum, and each leaf's mean squared norm."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters, in mu_dtype
    nu: Tree  # one number a leaf, shape ()


def scale_by_novograd(
    b1: Scalar = 0.9,
    b2: Scalar = 0.25,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
) -> GradientTransformation:
    """Rescale the gradients by NovoGrad's rule, without a learning rate; see `novograd` for formula and parameters."""
    return leafwise(
        ScaleByNovogradState,
        _init,
        _scale_by_novograd,
        **checked(b1, b2, eps, eps_root),
        weight_decay=hyperparameters.learning_rate(weight_decay, "weight_decay"),
        mu_dtype=hyperparameters.dtype("mu_dtype", mu_dtype),
    )


def novograd(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.25,
    eps: Scalar = 1e-6,
    eps_root: Scalar = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
) -> GradientTransformation:
    r"""Momentum of gradients that are divided by each leaf's norm.

    .. math::

        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) \lVert g_t \rVert^2, \qquad v_1 = \lVert g_1 \rVert^2 \\
        m_t &= \beta_1 m_{t-1} + \frac{g_t}{\sqrt{v_t + \bar\varepsilon} + \varepsilon} + \lambda p_{t-1} \\
        u_t &= -\eta_t\, m_t

    with one :math:`v` for a whole leaf.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    b1, b2
        :math:`\beta_1, \beta_2` in [0, 1): decay rates of the momentum and of the mean squared norm.
    eps
        :math:`\varepsilon`, added outside the root.
    eps_root
        :math:`\bar\varepsilon`, added inside the root.
    weight_decay
        :math:`\lambda`, inside the momentum: a number, a 0-d array, or a schedule.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByNovogradState`: ``count`` (int32), ``mu`` and ``nu`` in the parameters' dtype, float32
        for 16-bit ones; ``nu`` is one real number a leaf. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Ginsburg et al., "Stochastic gradient methods with layer-wise adaptive moments for training of deep networks",
    2019, arXiv:1905.11286.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.novograd(0.1, eps=0.0)
    >>> params = np.asarray([3.0, -4.0])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([-0.06,  0.08])
    """
    return chain(
        scale_by_novograd(b1, b2, eps, eps_root, weight_decay),
        scale_by_learning_rate(learning_rate),
    )


def _init(xp: Any, p: Array, *, mu_dtype: Any) -> dict[str, Array]:
    return {"mu": zeros_like(xp, p, mu_dtype), "nu": xp.zeros_like(xp.sum(abs_squared(xp, p)))}


def _scale_by_novograd(
    xp: Any,
    g: Array,
    s: ScaleByNovogradState,
    *,
    p: Array,
    t: Time,
    b1: Scalar,
    b2: Scalar,
    eps: Scalar,
    eps_root: Scalar,
    weight_decay: Scalar,
) -> tuple[Array, ScaleByNovogradState]:
    squared = xp.sum(abs_squared(xp, g))
    nu = xp.where(t.is_first(), squared, average(b2, s.nu, squared))
    divisor = root(xp, nu, eps_root) + eps
    normalized = g / xp.where(divisor == 0, xp.ones_like(divisor), divisor)  # 0 only where every gradient is
    mu = b1 * s.mu + normalized + weight_decay * p
    return mu, s._replace(mu=mu, nu=nu)
