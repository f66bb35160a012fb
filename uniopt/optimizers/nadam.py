r"""NAdam and NAdamW: Adam and AdamW with Nesterov momentum, a switch of one rule."""

from __future__ import annotations

from typing import Any

from uniopt.optimizers.adam import adam, adamw
from uniopt.transformation import GradientTransformation
from uniopt.typing import Mask, Scalar, ScalarOrSchedule


def nadam(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> GradientTransformation:
    r"""Adam with Nesterov momentum; `adam` with ``nesterov=True``.

    .. math::

        \hat m_t = \frac{\beta_1 m_t}{1 - \beta_1^{t+1}} + \frac{(1 - \beta_1)\, g_t}{1 - \beta_1^t}, \qquad
        u_t = -\eta_t\, \hat m_t / \left(\sqrt{\hat v_t + \bar\varepsilon} + \varepsilon\right)

    with the moments of `adam`.

    Parameters
    ----------
    learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov
        As in `adam`.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState` in the dtypes of `adam`.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch.optim.NAdam and keras.optimizers.Nadam also let :math:`\beta_1` rise over the first steps.
    mlx does not have it.

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples
    --------
    >>> import uniopt
    >>> uniopt.nadam(1e-3) == uniopt.adam(1e-3, nesterov=True)
    True
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = True,
) -> GradientTransformation:
    r"""Adam with Nesterov momentum and decoupled weight decay; `adamw` with ``nesterov=True``.

    .. math::

        u_t = -\eta_t \left( \hat m_t / \left(\sqrt{\hat v_t + \bar\varepsilon} + \varepsilon\right)
        + \lambda p_{t-1} \right)

    with :math:`\hat m_t` as in `nadam` and :math:`\hat v_t` as in `adam`.

    Parameters
    ----------
    learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov
        As in `adam`.
    weight_decay, mask
        As in `adamw`.

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
    optax is the same. torch.optim.NAdam with ``decoupled_weight_decay=True`` and keras.optimizers.Nadam with a weight
    decay also let :math:`\beta_1` rise over the first steps. mlx does not have it.

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016; Loshchilov and Hutter, "Decoupled weight
    decay regularization", ICLR 2019, arXiv:1711.05101.

    Examples
    --------
    >>> import uniopt
    >>> uniopt.nadamw(1e-3) == uniopt.adamw(1e-3, nesterov=True)
    True
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov)
