r"""Yogi: Adam whose second moment moves by a bounded amount."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average, checked, corrected, root
from uniopt.numerics import abs_squared, full_like, nonzero, real_full_like
from uniopt.optimizers.adam import ScaleByAdamState
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule


def scale_by_yogi(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-3,
    eps_root: Scalar = 0.0,
    initial_accumulator_value: Scalar = 1e-6,
) -> GradientTransformation:
    """Rescale the gradients by Yogi's rule, without a learning rate; see `yogi` for formula and parameters.

    `initial_accumulator_value` is the first value of both moments.
    """
    return leafwise(
        ScaleByAdamState,
        _init,
        _scale_by_yogi,
        **checked(b1, b2, eps, eps_root),
        initial_accumulator_value=hyperparameters.nonnegative("initial_accumulator_value", initial_accumulator_value),
    )


def yogi(
    learning_rate: ScalarOrSchedule, b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-3
) -> GradientTransformation:
    r"""Adam whose second moment follows the squared gradients additively.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, & \hat m_t &= m_t / (1 - \beta_1^t) \\
        v_t &= v_{t-1} - (1 - \beta_2)\, \mathrm{sign}(v_{t-1} - |g_t|^2)\, |g_t|^2, &
        \hat v_t &= v_t / (1 - \beta_2^t) \\
        u_t &= -\eta_t\, \hat m_t / \left(\sqrt{\hat v_t} + \varepsilon\right)

    with :math:`m_0 = v_0 = 10^{-6}`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    b1, b2
        :math:`\beta_1, \beta_2` in [0, 1): decay rates of the moments.
    eps
        :math:`\varepsilon`, added outside the root.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState`: ``count`` (int32), ``mu`` and ``nu`` in the parameters' dtype, float32 for
        16-bit ones; ``nu`` is real.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    The paper corrects no bias; optax does, and is the same. torch, mlx and keras do not have it.

    References
    ----------
    Zaheer et al., "Adaptive methods for nonconvex optimization", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.yogi(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0].round(4)
    array([-0.1   ,  0.0996])
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))


def _init(xp: Any, p: Array, *, initial_accumulator_value: Scalar) -> dict[str, Array]:
    return {
        "mu": full_like(xp, p, initial_accumulator_value),
        "nu": real_full_like(xp, p, initial_accumulator_value),
    }


def _scale_by_yogi(
    xp: Any, g: Array, s: ScaleByAdamState, *, t: Time, b1: Scalar, b2: Scalar, eps: Scalar, eps_root: Scalar
) -> tuple[Array, ScaleByAdamState]:
    squared = abs_squared(xp, g)
    mu = average(b1, s.mu, g)
    nu = s.nu - (1 - b2) * xp.sign(s.nu - squared) * squared
    divisor = root(xp, nu / t.bias_correction(b2), eps_root) + eps
    update = corrected(t, mu, g, b1) / nonzero(xp, divisor, eps, eps_root)
    return update, s._replace(mu=mu, nu=nu)
