r"""RMSprop, plain and centered: one rule."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.errors import HyperparameterError
from uniopt.leafwise import leafwise
from uniopt.numerics import abs_squared, nonzero, real_full_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import identity, scale_by_learning_rate
from uniopt.transforms.trace import trace
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByRmsState(NamedTuple):
    """The second moment of the gradients."""

    nu: Tree  # like the parameters, real


class ScaleByRmsWithCountState(NamedTuple):
    """The second moment of the gradients, and the step count that corrects it."""

    count: Array  # int32, shape ()
    nu: Tree  # like the parameters, real


class ScaleByRStdDevState(NamedTuple):
    """The first and second moments of the gradients."""

    mu: Tree  # like the parameters
    nu: Tree  # like the parameters, real


class ScaleByRStdDevWithCountState(NamedTuple):
    """The first and second moments of the gradients, and the step count that corrects them."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters
    nu: Tree  # like the parameters, real


def scale_by_rms(
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Divide the gradients by the root of their second moment; see `rmsprop` for formula and parameters."""
    hyper = _checked(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    state = ScaleByRmsWithCountState if hyper["bias_correction"] else ScaleByRmsState
    return leafwise(state, _init, _scale_by_rms, **hyper)


def scale_by_stddev(
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Divide the gradients by their standard deviation; see `rmsprop`, centered, for formula and parameters."""
    hyper = _checked(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    state = ScaleByRStdDevWithCountState if hyper["bias_correction"] else ScaleByRStdDevState
    return leafwise(state, _init_centered, _scale_by_stddev, **hyper)


def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Scalar | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformation:
    r"""Steps scaled by the root of a running mean of the squared gradients.

    .. math::

        v_t &= \rho v_{t-1} + (1 - \rho) |g_t|^2 \\
        u_t &= -\eta_t\, g_t / \sqrt{v_t + \varepsilon}
        \quad\text{or, with the epsilon outside,}\quad -\eta_t\, g_t / (\sqrt{v_t} + \varepsilon)

    Centered, :math:`v_t` is lessened by :math:`|m_t|^2`, where :math:`m_t = \rho m_{t-1} + (1 - \rho) g_t`. With
    momentum, :math:`u_t` is summed up afterwards: :math:`b_t = u_t + \mu b_{t-1}`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    decay
        :math:`\rho` in [0, 1): decay rate of the means.
    eps
        :math:`\varepsilon`, against division by zero.
    initial_scale
        First value of :math:`v`.
    eps_in_sqrt
        Whether :math:`\varepsilon` is added inside the root.
    centered
        Whether to divide by the standard deviation instead of the root mean square.
    momentum
        :math:`\mu` in [0, 1); None for none. The learning rate is inside the momentum.
    nesterov
        Whether the momentum looks one step ahead; needs `momentum`.
    bias_correction
        Whether the means are divided by :math:`1 - \rho^t`.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByRmsState`: ``nu``; or, centered, `ScaleByRStdDevState`: ``mu`` and ``nu``; with the bias
        correction `ScaleByRmsWithCountState` or `ScaleByRStdDevWithCountState`, which have a ``count`` (int32) too; and
        with momentum `TraceState`: ``trace``. They are in the parameters' dtype, float32 for 16-bit ones; ``nu`` is
        real.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or `nesterov` is set without momentum.

    Notes
    -----
    optax and keras are the same. torch.optim.RMSprop adds epsilon outside the root, decays by 0.99, and applies the
    learning rate after the momentum; mlx is like torch without momentum. Rounding can make the centered :math:`v_t`
    negative, which is NaN in optax and torch; here it is cut off at 0.

    References
    ----------
    Hinton, "Overview of mini-batch gradient descent", lecture 6, 2012; Graves, "Generating sequences with recurrent
    neural networks", 2013, arXiv:1308.0850 (centered).

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.rmsprop(0.1, decay=0.75, eps=0.0)
    >>> grads = np.asarray([2.0, -4.0])
    >>> tx.update(grads, tx.init(grads))[0]
    array([-0.2,  0.2])
    """
    if hyperparameters.switch("nesterov", nesterov) and momentum is None:
        raise HyperparameterError(
            "nesterov is True without momentum; expected momentum=... with it, or nesterov=False."
        )
    if momentum is not None:
        momentum = hyperparameters.decay_rate("momentum", momentum)
    rescale = scale_by_stddev if hyperparameters.switch("centered", centered) else scale_by_rms
    return chain(
        rescale(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )


def _checked(
    decay: Scalar, eps: Scalar, initial_scale: Scalar, eps_in_sqrt: bool, bias_correction: bool
) -> dict[str, Any]:
    return {
        "decay": hyperparameters.decay_rate("decay", decay),
        "eps": hyperparameters.nonnegative("eps", eps),
        "initial_scale": hyperparameters.nonnegative("initial_scale", initial_scale),
        "eps_in_sqrt": hyperparameters.switch("eps_in_sqrt", eps_in_sqrt),
        "bias_correction": hyperparameters.switch("bias_correction", bias_correction),
    }


def _init(xp: Any, p: Array, *, initial_scale: Scalar) -> dict[str, Array]:
    return {"nu": real_full_like(xp, p, initial_scale)}


def _init_centered(xp: Any, p: Array, *, initial_scale: Scalar) -> dict[str, Array]:
    return {"mu": xp.zeros_like(p), "nu": real_full_like(xp, p, initial_scale)}


def _scale_by_rms(
    xp: Any, g: Array, s: Any, *, t: Time, decay: Scalar, eps: Scalar, eps_in_sqrt: bool, bias_correction: bool
) -> tuple[Array, Any]:
    nu = decay * s.nu + (1 - decay) * abs_squared(xp, g)
    v = nu / t.bias_correction(decay) if bias_correction else nu
    return _divide_by_root(xp, g, v, eps, eps_in_sqrt), s._replace(nu=nu)


def _scale_by_stddev(
    xp: Any, g: Array, s: Any, *, t: Time, decay: Scalar, eps: Scalar, eps_in_sqrt: bool, bias_correction: bool
) -> tuple[Array, Any]:
    mu = decay * s.mu + (1 - decay) * g
    nu = decay * s.nu + (1 - decay) * abs_squared(xp, g)
    m, v = mu, nu
    if bias_correction:
        m, v = mu / t.bias_correction(decay), nu / t.bias_correction(decay)
    variance = xp.maximum(v - abs_squared(xp, m), 0.0)  # rounding can make the difference negative
    return _divide_by_root(xp, g, variance, eps, eps_in_sqrt), s._replace(mu=mu, nu=nu)


def _divide_by_root(xp: Any, g: Array, v: Array, eps: Scalar, eps_in_sqrt: bool) -> Array:
    root = xp.sqrt(v + eps) if eps_in_sqrt else xp.sqrt(v) + eps
    return g / nonzero(xp, root, eps)
