r"""AdaBelief: Adam that measures how far a gradient is from the expected one."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average, checked, corrected
from uniopt.numerics import abs_squared, nonzero, real_full_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByBeliefState(NamedTuple):
    """The first moment of the gradients, and the second moment of their distance from it."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters
    nu: Tree  # like the parameters, real


def scale_by_belief(
    b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-16, eps_root: Scalar = 1e-16, *, nesterov: bool = False
) -> GradientTransformation:
    """Rescale the gradients by AdaBelief's rule, without a learning rate; see `adabelief`."""
    return leafwise(
        ScaleByBeliefState,
        _init,
        _scale_by_belief,
        **checked(b1, b2, eps, eps_root),
        nesterov=hyperparameters.switch("nesterov", nesterov),
    )


def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-16,
    eps_root: Scalar = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    r"""Adam whose second moment is that of the difference between a gradient and the first moment.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, & \hat m_t &= m_t / (1 - \beta_1^t) \\
        s_t &= \beta_2 s_{t-1} + (1 - \beta_2) |g_t - m_t|^2 + \bar\varepsilon, & \hat s_t &= s_t / (1 - \beta_2^t) \\
        u_t &= -\eta_t\, \hat m_t / \left(\sqrt{\hat s_t} + \varepsilon\right)

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    b1, b2
        :math:`\beta_1, \beta_2` in [0, 1): decay rates of the moments.
    eps
        :math:`\varepsilon`, added outside the root.
    eps_root
        :math:`\bar\varepsilon`, added to the second moment in every step.
    nesterov
        Whether the first moment looks one step ahead, as in `nadam`.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByBeliefState`: ``count`` (int32), ``mu`` and ``nu`` in the parameters' dtype, float32 for
        16-bit ones; ``nu`` is real.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients", NeurIPS 2020,
    arXiv:2010.07468.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adabelief(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.111111,  0.111111])
    """
    return chain(scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"mu": xp.zeros_like(p), "nu": real_full_like(xp, p)}


def _scale_by_belief(
    xp: Any,
    g: Array,
    s: ScaleByBeliefState,
    *,
    t: Time,
    b1: Scalar,
    b2: Scalar,
    eps: Scalar,
    eps_root: Scalar,
    nesterov: bool,
) -> tuple[Array, ScaleByBeliefState]:
    mu = average(b1, s.mu, g)
    nu = average(b2, s.nu, abs_squared(xp, g - mu)) + eps_root
    divisor = xp.sqrt(nu / t.bias_correction(b2)) + eps
    update = corrected(t, mu, g, b1, nesterov) / nonzero(xp, divisor, eps, eps_root)
    return update, s._replace(mu=mu, nu=nu)
