r"""Adam and AdamW: steps scaled by running estimates of the first and second moments."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.errors import HyperparameterError
from uniopt.leafwise import leafwise
from uniopt.moments import average, checked, corrected, rising, root, root_of_correction
from uniopt.numerics import abs_squared, nonzero, real_full_like, zeros_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule, Tree


class ScaleByAdamState(NamedTuple):
    """The moments of the gradients."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters, in mu_dtype
    nu: Tree  # like the parameters, real


class ScaleByNadamState(NamedTuple):
    """The moments of the gradients, and the product of the momentums so far."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters, in mu_dtype
    nu: Tree  # like the parameters, real
    mu_product: Tree  # one number a leaf, shape ()


def scale_by_adam(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
    eps_before_correction: bool = False,
    momentum_decay: Scalar | None = None,
) -> GradientTransformation:
    r"""Rescale the gradients by Adam's rule, without a learning rate; see `adam` for formula and parameters.

    Without `bias_correction`, the moments are taken as they are, as in mlx by default. With `eps_before_correction`,
    the divisor is :math:`(\sqrt{v_t + \bar\varepsilon} + \varepsilon) / \sqrt{1 - \beta_2^t}`, as in keras.

    With Nesterov and a `momentum_decay` :math:`\psi`, the momentum rises as Dozat proposed, and as torch (0.004) and
    keras (1) let it: with :math:`\mu_t = \beta_1 (1 - \frac12 0.96^{t \psi})` and :math:`\pi_t = \mu_1 \cdots \mu_t`,
    :math:`\hat m_t = \mu_{t+1} m_t / (1 - \pi_{t+1}) + (1 - \mu_t) g_t / (1 - \pi_t)`. The state then is
    `ScaleByNadamState`.
    """
    nesterov = hyperparameters.switch("nesterov", nesterov)
    bias_correction = hyperparameters.switch("bias_correction", bias_correction)
    if momentum_decay is not None and not nesterov:
        raise HyperparameterError(
            f"momentum_decay is {momentum_decay!r} without Nesterov; expected nesterov=True with it, or None."
        )
    if nesterov and not bias_correction:
        raise HyperparameterError("nesterov is True with bias_correction=False, expected only one of them.")
    rise = None if momentum_decay is None else hyperparameters.nonnegative("momentum_decay", momentum_decay)
    return leafwise(
        ScaleByAdamState if rise is None else ScaleByNadamState,
        _init if rise is None else _init_rising,
        _scale_by_adam,
        **checked(b1, b2, eps, eps_root),
        mu_dtype=hyperparameters.dtype("mu_dtype", mu_dtype),
        nesterov=nesterov,
        bias_correction=bias_correction,
        eps_before_correction=hyperparameters.switch("eps_before_correction", eps_before_correction),
        momentum_decay=rise,
    )


def adam(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    r"""Adam: steps scaled by running estimates of the gradients' first and second moments.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, &
        \hat m_t &= m_t / (1 - \beta_1^t) \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) |g_t|^2, &
        \hat v_t &= v_t / (1 - \beta_2^t) \\
        u_t &= -\eta_t\, \hat m_t / \left(\sqrt{\hat v_t + \bar\varepsilon} + \varepsilon\right)

    With `nesterov`, :math:`\hat m_t = \beta_1 m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1) g_t / (1 - \beta_1^t)`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    b1, b2
        :math:`\beta_1, \beta_2` in [0, 1): decay rates of the moments.
    eps
        :math:`\varepsilon`, added outside the root.
    eps_root
        :math:`\bar\varepsilon`, added inside the root; a positive one makes the update differentiable at zero.
    mu_dtype
        Dtype of :math:`m`; by default that of the parameters, float32 for 16-bit ones.
    nesterov
        Whether to look one step ahead (Dozat 2016).

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState`: ``count`` (int32), ``mu`` in `mu_dtype`, and ``nu`` in the parameters'
        dtype, float32 for 16-bit ones; ``nu`` is real.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    torch.optim.Adam is the same, and optax but for :math:`1 - \beta^t` in float32, which is wrong by 1e-5 at the first
    step. mlx.optimizers.Adam leaves out the bias correction unless asked for it. keras.optimizers.Adam adds its epsilon
    before the bias correction.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, arXiv:1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adam(0.1)
    >>> params = {"w": np.asarray([1.0, -2.0])}
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> updates["w"]
    array([-0.1,  0.1])
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )


def adamw(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    r"""Adam with decoupled weight decay.

    .. math::

        u_t = -\eta_t \left( \hat m_t / \left(\sqrt{\hat v_t + \bar\varepsilon} + \varepsilon\right)
        + \lambda p_{t-1} \right)

    with the moments of `adam`.

    Parameters
    ----------
    learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov
        As in `adam`.
    weight_decay
        :math:`\lambda`: a number, a 0-d array, or a schedule. It is multiplied by the learning rate.
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
    optax is the same. torch.optim.AdamW decays by 0.01 by default, keras by 0.004, mlx by 0.01, all three before the
    step; torch and mlx multiply the parameters by :math:`1 - \eta\lambda`, which in float32 rounds with a bias that the
    sum here does not have. mlx and keras differ as in `adam`.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adamw(0.1, weight_decay=0.5, mask={"w": True, "b": False})
    >>> params = {"w": np.asarray([2.0]), "b": np.asarray([2.0])}
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> updates
    {'w': array([-0.2]), 'b': array([-0.1])}
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def _init(xp: Any, p: Array, *, mu_dtype: Any) -> dict[str, Array]:
    return {"mu": zeros_like(xp, p, mu_dtype), "nu": real_full_like(xp, p)}


def _init_rising(xp: Any, p: Array, *, mu_dtype: Any) -> dict[str, Array]:
    slots = _init(xp, p, mu_dtype=mu_dtype)
    return {**slots, "mu_product": xp.ones_like(xp.sum(slots["nu"]))}


def _scale_by_adam(
    xp: Any,
    g: Array,
    s: Any,
    *,
    t: Time,
    b1: Scalar,
    b2: Scalar,
    eps: Scalar,
    eps_root: Scalar,
    nesterov: bool,
    bias_correction: bool,
    eps_before_correction: bool,
    momentum_decay: Scalar | None,
) -> tuple[Array, Any]:
    mu = average(b1, s.mu, g)
    nu = average(b2, s.nu, abs_squared(xp, g))
    if momentum_decay is not None:
        m, product = rising(t, mu, g, b1, momentum_decay, s.mu_product)
        s = s._replace(mu_product=product)
    else:
        m = corrected(t, mu, g, b1, nesterov) if bias_correction else mu
    if eps_before_correction:
        divisor = (root(xp, nu, eps_root) + eps) / t.once(root_of_correction, b2)
    else:
        divisor = root(xp, nu / t.bias_correction(b2) if bias_correction else nu, eps_root) + eps
    return m / nonzero(xp, divisor, eps, eps_root), s._replace(mu=mu, nu=nu)
