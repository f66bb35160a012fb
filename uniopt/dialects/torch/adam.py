"""torch's Adam and its relatives."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.dialects.torch.around import after, before, coupled_or_not
from uniopt.optimizers.adam import scale_by_adam
from uniopt.optimizers.adamax import scale_by_adamax
from uniopt.optimizers.amsgrad import scale_by_amsgrad
from uniopt.optimizers.radam import scale_by_radam
from uniopt.transformation import GradientTransformation
from uniopt.transforms.count_by_leaf import count_by_leaf
from uniopt.typing import Scalar, ScalarOrSchedule

Betas = tuple[Scalar, Scalar]


def Adam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    amsgrad: bool = False,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
    decoupled_weight_decay: bool = False,
) -> GradientTransformation:
    """Adam as torch computes it: `uniopt.adam`, whose steps are counted for each leaf.

    Parameters
    ----------
    lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay
        As in ``torch.optim.Adam``. AMSGrad takes the maximum of raw second moments and corrects it afterwards. A
        decoupled weight decay multiplies the parameters.
    foreach, capturable, differentiable, fused
        Ignored.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import torch
    >>> tx = torch.Adam(lr=0.1, weight_decay=0.5, decoupled_weight_decay=True)
    >>> params = np.asarray([2.0, -2.0])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([-0.2,  0.2])
    """
    coupled, decoupled = coupled_or_not(weight_decay, decoupled_weight_decay)
    b1, b2 = hyperparameters.decay_rates("betas", betas)
    if amsgrad:
        rule = scale_by_amsgrad(b1, b2, eps, bias_correction_nu=False, bias_correction_nu_max=True)
    else:
        rule = scale_by_adam(b1, b2, eps)
    return count_by_leaf(chain(*before(maximize, coupled), rule, *after(lr, decoupled)))


def AdamW(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
) -> GradientTransformation:
    """AdamW as torch computes it: `Adam` with a decoupled weight decay, which multiplies the parameters.

    Parameters
    ----------
    lr, betas, eps, weight_decay, amsgrad, maximize
        As in ``torch.optim.AdamW``.
    foreach, capturable, differentiable, fused
        Ignored.
    """
    return Adam(lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)


def NAdam(
    lr: ScalarOrSchedule = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    momentum_decay: Scalar = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
    capturable: bool = False,
    differentiable: bool = False,
) -> GradientTransformation:
    """NAdam as torch computes it: its momentum rises over the first steps.

    Parameters
    ----------
    lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize
        As in ``torch.optim.NAdam``.
    foreach, capturable, differentiable
        Ignored.

    Notes
    -----
    torch keeps the product of the momentums in its default dtype. If that is float32, its float64 parameters are off by
    up to 2e-8 of the distance moved.
    """
    coupled, decoupled = coupled_or_not(weight_decay, decoupled_weight_decay)
    rule = scale_by_adam(
        *hyperparameters.decay_rates("betas", betas), eps, nesterov=True, momentum_decay=momentum_decay
    )
    return count_by_leaf(chain(*before(maximize, coupled), rule, *after(lr, decoupled)))


def RAdam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    decoupled_weight_decay: bool = False,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
    capturable: bool = False,
    differentiable: bool = False,
) -> GradientTransformation:
    """RAdam as torch computes it: epsilon joins the second moment before it is corrected.

    Parameters
    ----------
    lr, betas, eps, weight_decay, decoupled_weight_decay, maximize
        As in ``torch.optim.RAdam``.
    foreach, capturable, differentiable
        Ignored.
    """
    coupled, decoupled = coupled_or_not(weight_decay, decoupled_weight_decay)
    rule = scale_by_radam(
        *hyperparameters.decay_rates("betas", betas), eps, eps_before_correction=True, above_threshold=True
    )
    return count_by_leaf(chain(*before(maximize, coupled), rule, *after(lr, decoupled)))


def Adamax(
    lr: ScalarOrSchedule = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    foreach: bool | None = None,
    *,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
) -> GradientTransformation:
    """Adamax as torch computes it: `uniopt.adamax`, whose steps are counted for each leaf.

    Parameters
    ----------
    lr, betas, eps, weight_decay, maximize
        As in ``torch.optim.Adamax``. The weight decay is coupled.
    foreach, differentiable, capturable
        Ignored.
    """
    rule = scale_by_adamax(*hyperparameters.decay_rates("betas", betas), eps)
    return count_by_leaf(chain(*before(maximize, weight_decay), rule, *after(lr)))
