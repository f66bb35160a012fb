r"""AdaMax: Adam whose second moment is a decaying maximum; with and without decoupled weight decay."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average, corrected
from uniopt.numerics import nonzero, real_full_like
from uniopt.optimizers.adam import ScaleByAdamState
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule


def scale_by_adamax(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    *,
    bias_correction: bool = True,
    eps_in_maximum: bool = True,
) -> GradientTransformation:
    """Rescale the gradients by AdaMax's rule, without a learning rate; see `adamax` for the formula.

    Parameters
    ----------
    b1, b2, eps
        As in `adamax`.
    bias_correction
        Whether the first moment is corrected, which it is not in mlx.
    eps_in_maximum
        Whether `eps` is added to the gradient's size; keras and mlx add it to the maximum.
    """
    return leafwise(
        ScaleByAdamState,
        _init,
        _scale_by_adamax,
        b1=hyperparameters.decay_rate("b1", b1),
        b2=hyperparameters.decay_rate("b2", b2),
        eps=hyperparameters.nonnegative("eps", eps),
        bias_correction=hyperparameters.switch("bias_correction", bias_correction),
        eps_in_maximum=hyperparameters.switch("eps_in_maximum", eps_in_maximum),
    )


def adamax(
    learning_rate: ScalarOrSchedule, b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-8
) -> GradientTransformation:
    r"""Adam with a decaying maximum in place of the second moment.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t \\
        v_t &= \max(|g_t| + \varepsilon,\ \beta_2 v_{t-1}) \\
        u_t &= -\eta_t\, \frac{m_t}{(1 - \beta_1^t)\, v_t}

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    b1, b2
        :math:`\beta_1, \beta_2` in [0, 1): decay rates of the first moment and of the maximum.
    eps
        :math:`\varepsilon`, added to the gradient's size.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState`: ``count`` (int32), ``mu`` and ``nu`` in the parameters' dtype, float32 for
        16-bit ones; ``nu`` is the maximum, and real.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax and torch.optim.Adamax are the same. keras and mlx add epsilon to the maximum instead, and mlx leaves out the
    correction of :math:`m`. Where :math:`v_t` is 0 (a zero gradient with an epsilon of 0), the update is 0.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, arXiv:1412.6980, section 7.1.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adamax(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.1,  0.1])
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
) -> GradientTransformation:
    r"""AdaMax with decoupled weight decay: :math:`-\eta_t \lambda p_{t-1}` is added to the update of `adamax`.

    Parameters
    ----------
    learning_rate, b1, b2, eps
        As in `adamax`.
    weight_decay
        :math:`\lambda`: a number, a 0-d array, or a schedule. It is multiplied by the learning rate.
    mask
        Which parameters decay: a tree of bools, a prefix of one, or a function from the parameters to one.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState` in the dtypes of `adamax`. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch's Adamax adds its weight decay to the gradient; keras decays the parameters before the
    step; mlx has no decay.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adamaxw(0.1, weight_decay=0.5)
    >>> params = np.asarray([2.0, -2.0])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([-0.2,  0.2])
    """
    return chain(
        scale_by_adamax(b1, b2, eps), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate)
    )


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"mu": xp.zeros_like(p), "nu": real_full_like(xp, p)}


def _scale_by_adamax(
    xp: Any,
    g: Array,
    s: ScaleByAdamState,
    *,
    t: Time,
    b1: Scalar,
    b2: Scalar,
    eps: Scalar,
    bias_correction: bool,
    eps_in_maximum: bool,
) -> tuple[Array, ScaleByAdamState]:
    mu = average(b1, s.mu, g)
    nu = xp.maximum(xp.abs(g) + eps if eps_in_maximum else xp.abs(g), b2 * s.nu)
    m = corrected(t, mu, g, b1) if bias_correction else mu
    return m / nonzero(xp, nu if eps_in_maximum else nu + eps), s._replace(mu=mu, nu=nu)
