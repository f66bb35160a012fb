r"""RAdam: Adam that holds back while its second moment is still uncertain."""

from __future__ import annotations

import math
from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average, checked, corrected, root, root_of_correction
from uniopt.numerics import abs_squared, nonzero, real_full_like
from uniopt.optimizers.adam import ScaleByAdamState
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule

_AS_GOOD_AS_0 = 1e-37  # a decay rate, but its logarithm is finite, in float32 too


def scale_by_radam(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    threshold: Scalar = 5.0,
    *,
    nesterov: bool = False,
    eps_before_correction: bool = False,
    above_threshold: bool = False,
) -> GradientTransformation:
    r"""Rescale the gradients by RAdam's rule, without a learning rate; see `radam` for formula and parameters.

    With `eps_before_correction`, the divisor is :math:`(\sqrt{v_t + \bar\varepsilon} + \varepsilon) / \sqrt{1 -
    \beta_2^t}`; with `above_threshold`, :math:`\rho_t` has to be more than :math:`\theta`. torch has both.
    """
    return leafwise(
        ScaleByAdamState,
        _init,
        _scale_by_radam,
        **checked(b1, b2, eps, eps_root),
        threshold=hyperparameters.number("threshold", threshold),
        nesterov=hyperparameters.switch("nesterov", nesterov),
        eps_before_correction=hyperparameters.switch("eps_before_correction", eps_before_correction),
        above_threshold=hyperparameters.switch("above_threshold", above_threshold),
    )


def radam(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    threshold: Scalar = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    r"""Adam whose early steps are rectified, or plain momentum while there is too little to go by.

    .. math::

        \rho_\infty &= \frac{2}{1 - \beta_2} - 1, \qquad
        \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t} \\
        u_t &= -\eta_t\, r_t\, \frac{\hat m_t}{\sqrt{\hat v_t + \bar\varepsilon} + \varepsilon}
        \quad\text{with}\quad
        r_t = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\rho_t}}
        \quad\text{if } \rho_t \ge \theta, \qquad u_t = -\eta_t\, \hat m_t \quad\text{otherwise}

    with the moments of `adam`.

    Parameters
    ----------
    learning_rate, b1, b2, eps, eps_root, nesterov
        As in `adam`.
    threshold
        :math:`\theta`, the length :math:`\rho_t` from which the second moment is used.

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
    optax is the same. torch.optim.RAdam asks for :math:`\rho_t > 5` and adds epsilon to the second moment before it is
    corrected. mlx and keras do not have it.

    References
    ----------
    Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020, arXiv:1908.03265.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.radam(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0]
    array([-0.3 ,  0.05])
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov), scale_by_learning_rate(learning_rate)
    )


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"mu": xp.zeros_like(p), "nu": real_full_like(xp, p)}


def _scale_by_radam(
    xp: Any,
    g: Array,
    s: ScaleByAdamState,
    *,
    t: Time,
    b1: Scalar,
    b2: Scalar,
    eps: Scalar,
    eps_root: Scalar,
    threshold: Scalar,
    nesterov: bool,
    eps_before_correction: bool,
    above_threshold: bool,
) -> tuple[Array, ScaleByAdamState]:
    mu = average(b1, s.mu, g)
    nu = average(b2, s.nu, abs_squared(xp, g))
    m = corrected(t, mu, g, b1, nesterov)
    if eps_before_correction:
        divisor = (root(xp, nu, eps_root) + eps) / t.once(root_of_correction, b2)
    else:
        divisor = root(xp, nu / t.bias_correction(b2), eps_root) + eps
    adapted = t.once(_rectification, b2) * m / nonzero(xp, divisor, eps, eps_root)
    rectified = t.once(_is_rectified, b2, threshold, above_threshold)
    return xp.where(rectified, adapted, m), s._replace(mu=mu, nu=nu)


def _is_rectified(xp: Any, t: Array, b2: Scalar, threshold: Scalar, above: bool) -> Array:
    length = _length(xp, t, b2)
    return length > threshold if above else length >= threshold


def _rectification(xp: Any, t: Array, b2: Scalar) -> Array:
    """Return :math:`r_t`, or 0 where it is not real."""
    limit = 2.0 / (1.0 - b2) - 1.0
    length = _length(xp, t, b2)
    ratio = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length)
    return xp.sqrt(xp.where(ratio > 0.0, ratio, xp.zeros_like(ratio)))


def _length(xp: Any, t: Array, b2: Scalar) -> Array:
    r"""Return :math:`\rho_t` without the cancellation of the formula, which costs four digits at b2 = 0.999.

    With :math:`z = -\frac12 \log\beta_2` and Langevin's function :math:`\Lambda(x) = \coth x - 1/x`, the formula is
    :math:`\Lambda(z) + t - t\,\Lambda(t z)`.
    """
    log = math.log(max(b2, _AS_GOOD_AS_0)) if isinstance(b2, float) else xp.log(xp.maximum(b2, _AS_GOOD_AS_0))
    z = -0.5 * log * xp.ones_like(t)
    return _langevin(xp, z) + t - t * _langevin(xp, t * z)


def _langevin(xp: Any, x: Array) -> Array:
    squared = x * x
    series = x * (1 / 3 + squared * (-1 / 45 + squared * (2 / 945 + squared * (-1 / 4725 + squared * (2 / 93555)))))
    return xp.where(x < 0.125, series, 1.0 / xp.tanh(x) - 1.0 / x)
