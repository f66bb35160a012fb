r"""Stochastic gradient descent, with momentum, and with noise."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.errors import HyperparameterError
from uniopt.transformation import GradientTransformation
from uniopt.transforms.noise import add_noise
from uniopt.transforms.scale import identity, scale_by_learning_rate
from uniopt.transforms.trace import trace
from uniopt.typing import Scalar, ScalarOrSchedule


def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: Scalar | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    *,
    dampening: Scalar = 0.0,
    undampened_first_step: bool = False,
) -> GradientTransformation:
    r"""Stochastic gradient descent, optionally with momentum.

    .. math::

        m_t &= (1 - \tau) g_t + \mu m_{t-1} \\
        u_t &= -\eta_t m_t \quad\text{or, with Nesterov,}\quad u_t = -\eta_t (g_t + \mu m_t)

    Without momentum, :math:`u_t = -\eta_t g_t`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    momentum
        :math:`\mu` in [0, 1); None for plain gradient descent, which has no state.
    nesterov
        Whether to look one step ahead; needs momentum.
    accumulator_dtype
        Dtype of :math:`m`; by default that of the parameters, float32 for 16-bit ones.
    dampening
        :math:`\tau` in [0, 1), the share of each gradient that stays out of the momentum; needs momentum.
    undampened_first_step
        Whether a leaf's first gradient is taken whole, as in torch; mlx dampens it too.

    Returns
    -------
    GradientTransformation
        With momentum, its state holds `TraceState`: ``trace`` in `accumulator_dtype`; if the first step is undampened,
        `UndampenedTraceState`, which has an ``is_initial_step`` (one bool a leaf) too. Without momentum, it has no
        state but the count of a schedule (int32).

    Raises
    ------
    HyperparameterError
        If the learning rate is negative, the momentum outside [0, 1), or `nesterov` or `dampening` set without it.

    Notes
    -----
    optax, torch and mlx are the same; optax has no dampening, and the weight decay of torch and mlx is
    ``chain(add_decayed_weights(...), sgd(...))``. keras keeps the learning rate inside the momentum.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.sgd(0.1)
    >>> params = np.asarray([1.0, 2.0, 3.0])
    >>> state = tx.init(params)
    >>> for _ in range(3):
    ...     updates, state = tx.update(2 * params, state, params)  # the gradient of sum(params**2)
    ...     params = uniopt.apply_updates(params, updates)
    >>> params
    array([0.512, 1.024, 1.536])
    """
    if hyperparameters.switch("nesterov", nesterov) and momentum is None:
        raise HyperparameterError(
            "nesterov is True without momentum; expected momentum=... with it, or nesterov=False."
        )
    undampened_first_step = hyperparameters.switch("undampened_first_step", undampened_first_step)
    dampening = hyperparameters.decay_rate("dampening", dampening)
    if momentum is None and isinstance(dampening, float) and dampening != 0.0:  # the value of an array is not known yet
        raise HyperparameterError(f"dampening is {dampening!r} without momentum; expected momentum=... with it, or 0.")
    dtype = hyperparameters.dtype("accumulator_dtype", accumulator_dtype)
    if momentum is None:
        return chain(identity(), scale_by_learning_rate(learning_rate))
    decay = hyperparameters.decay_rate("momentum", momentum)
    buffer = trace(decay, nesterov, dtype, dampening=dampening, undampened_first_step=undampened_first_step)
    return chain(buffer, scale_by_learning_rate(learning_rate))


def noisy_sgd(
    learning_rate: ScalarOrSchedule,
    eta: Scalar = 0.01,
    gamma: Scalar = 0.55,
    key: int | None = None,
    *,
    seed: int | None = None,
) -> GradientTransformation:
    r"""Gradient descent with Gaussian noise that is annealed over time.

    .. math::

        u_t = -\eta_t \left(g_t + \mathcal{N}(0, \sigma_t^2)\right), \qquad \sigma_t^2 = \frac{\eta}{t^\gamma}

    with :math:`t` counted from 1.

    Parameters
    ----------
    learning_rate
        :math:`\eta_t`: a number, a 0-d array, or a schedule of the step count.
    eta
        Variance of the noise in the first step.
    gamma
        Exponent by which the variance falls.
    key
        Seed of the noise, an integer in [0, 2**64); None is 0. The noise is the same on every library and device.
    seed
        Another name of `key`; only one of them may be given.

    Returns
    -------
    GradientTransformation
        Its state holds `AddNoiseState`: ``count`` and ``rng_key`` (int32).

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or both `key` and `seed` are given.

    Notes
    -----
    optax draws its noise from JAX's own generator, so its numbers differ; the variances are the same. torch, mlx and
    keras do not have it.

    References
    ----------
    Neelakantan et al., "Adding gradient noise improves learning for very deep networks", 2015, arXiv:1511.06807.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.noisy_sgd(0.1, eta=0.0)
    >>> params = np.asarray([1.0, 2.0])
    >>> tx.update(params, tx.init(params))[0]
    array([-0.1, -0.2])
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
