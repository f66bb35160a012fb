r"""Adan: Nesterov momentum written with differences of gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average, checked, root
from uniopt.numerics import abs_squared, nonzero, real_full_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule, Tree


class ScaleByAdanState(NamedTuple):
    """The moments of the gradients and of their differences, and the last gradient."""

    m: Tree  # like the parameters
    v: Tree  # like the parameters
    n: Tree  # like the parameters, real
    g: Tree  # like the parameters
    t: Array  # int32, shape ()


def scale_by_adan(
    b1: Scalar = 0.98, b2: Scalar = 0.92, b3: Scalar = 0.99, eps: Scalar = 1e-8, eps_root: Scalar = 0.0
) -> GradientTransformation:
    """Rescale the gradients by Adan's rule, without a learning rate; see `adan` for formula and parameters."""
    return leafwise(
        ScaleByAdanState,
        _init,
        _scale_by_adan,
        counter="t",
        **checked(b1, b2, eps, eps_root),
        b3=hyperparameters.decay_rate("b3", b3),
    )


def adan(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.98,
    b2: Scalar = 0.92,
    b3: Scalar = 0.99,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformation:
    r"""Adaptive steps with Nesterov momentum, from the gradients and their differences.

    With :math:`d_t = g_t - g_{t-1}` (0 in the first step),

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) d_t \\
        n_t &= \beta_3 n_{t-1} + (1 - \beta_3) |g_t + (1 - \beta_2) d_t|^2 \\
        u_t &= -\eta_t \left( \frac{\hat m_t + (1 - \beta_2) \hat v_t}{\sqrt{\hat n_t + \bar\varepsilon} + \varepsilon}
        + \lambda p_{t-1} \right)

    where each moment is divided by :math:`1 - \beta^t`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    b1, b2, b3
        :math:`\beta_1, \beta_2, \beta_3` in [0, 1): decay rates of the moments.
    eps
        :math:`\varepsilon`, added outside the root.
    eps_root
        :math:`\bar\varepsilon`, added inside the root.
    weight_decay
        :math:`\lambda`: a number, a 0-d array, or a schedule. It is multiplied by the learning rate.
    mask
        Which parameters decay: a tree of bools, a prefix of one, or a function from the parameters to one.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdanState`: ``t`` (int32), and ``m``, ``v``, ``n`` and the last gradient ``g`` in the
        parameters' dtype, float32 for 16-bit ones; ``n`` is real. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. The paper's betas are 1 minus these, and it weights the differences by :math:`\beta_2` where
    :math:`1 - \beta_2` stands here. torch, mlx and keras do not have it.

    References
    ----------
    Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models", 2022, arXiv:2208.06677.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adan(0.1)
    >>> params = np.asarray([3.0, -0.5])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([-0.1,  0.1])
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"m": xp.zeros_like(p), "v": xp.zeros_like(p), "n": real_full_like(xp, p), "g": xp.zeros_like(p)}


def _scale_by_adan(
    xp: Any,
    g: Array,
    s: ScaleByAdanState,
    *,
    t: Time,
    b1: Scalar,
    b2: Scalar,
    b3: Scalar,
    eps: Scalar,
    eps_root: Scalar,
) -> tuple[Array, ScaleByAdanState]:
    difference = xp.where(t.is_first(), xp.zeros_like(g), g - s.g)
    m = average(b1, s.m, g)
    v = average(b2, s.v, difference)
    n = average(b3, s.n, abs_squared(xp, g + (1 - b2) * difference))
    momentum = m / t.bias_correction(b1) + (1 - b2) * (v / t.bias_correction(b2))
    divisor = root(xp, n / t.bias_correction(b3), eps_root) + eps
    update = momentum / nonzero(xp, divisor, eps, eps_root)
    own = 1 * g  # not the gradient's memory, which may be written to before the next step
    return update, s._replace(m=m, v=v, n=n, g=own)
