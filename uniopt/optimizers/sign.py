r"""Sign descent: steps of one size, from the gradient's sign or from that of its running mean."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.leafwise import leafwise
from uniopt.transformation import GradientTransformation
from uniopt.transforms.ema import ema
from uniopt.transforms.scale import EmptyState, scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule


def scale_by_sign() -> GradientTransformation:
    """Replace each number by its sign: -1, 0 or 1; a complex number by the one of size 1 in its direction."""
    return leafwise(EmptyState, None, _scale_by_sign)


def sign_sgd(learning_rate: ScalarOrSchedule) -> GradientTransformation:
    r"""Steps of one size in the direction of the gradient's signs: :math:`u_t = -\eta_t\, \mathrm{sign}(g_t)`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.

    Returns
    -------
    GradientTransformation
        It has no state but the count of a schedule (int32).

    Raises
    ------
    HyperparameterError
        If the learning rate is negative.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Bernstein et al., "signSGD: compressed optimisation for non-convex problems", ICML 2018, arXiv:1802.04434.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.sign_sgd(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0]
    array([-0.1,  0.1])
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


def signum(
    learning_rate: ScalarOrSchedule, beta: Scalar = 0.9, accumulator_dtype: Any = None
) -> GradientTransformation:
    r"""Steps of one size in the direction of the signs of the gradients' running mean.

    .. math::

        m_t = \beta m_{t-1} + (1 - \beta) g_t, \qquad u_t = -\eta_t\, \mathrm{sign}(m_t)

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    beta
        :math:`\beta` in [0, 1): decay rate of the mean.
    accumulator_dtype
        Dtype of :math:`m`; by default that of the parameters, float32 for 16-bit ones.

    Returns
    -------
    GradientTransformation
        Its state holds `EmaState`: ``count`` (int32), and ``ema`` in `accumulator_dtype`.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Bernstein et al., "signSGD: compressed optimisation for non-convex problems", ICML 2018, arXiv:1802.04434.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.signum(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0]
    array([-0.1,  0.1])
    """
    return chain(
        ema(hyperparameters.decay_rate("beta", beta), debias=False, accumulator_dtype=accumulator_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )


def _scale_by_sign(xp: Any, g: Array, s: EmptyState) -> tuple[Array, EmptyState]:
    return xp.sign(g), s
