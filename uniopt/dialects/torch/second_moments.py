"""torch's Adagrad, Adadelta, RMSprop and Adafactor."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.dialects.torch.around import after, before, is_0, shrinking
from uniopt.optimizers.adadelta import scale_by_adadelta
from uniopt.optimizers.adafactor import scale_by_factored_rms, scale_by_relative_step
from uniopt.optimizers.adagrad import scale_by_rss
from uniopt.optimizers.rmsprop import scale_by_rms, scale_by_stddev
from uniopt.transformation import GradientTransformation
from uniopt.transforms.clip import clip_by_block_rms
from uniopt.transforms.count_by_leaf import count_by_leaf
from uniopt.transforms.scale import identity
from uniopt.transforms.trace import trace
from uniopt.transforms.trust_ratio import scale_by_param_block_rms
from uniopt.typing import Scalar, ScalarOrSchedule


def Adagrad(
    lr: ScalarOrSchedule = 1e-2,
    lr_decay: Scalar = 0,
    weight_decay: Scalar = 0,
    initial_accumulator_value: Scalar = 0,
    eps: Scalar = 1e-10,
    foreach: bool | None = None,
    *,
    maximize: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
) -> GradientTransformation:
    """Adagrad as torch computes it: epsilon is outside the root, and the sum of squares starts at 0.

    Parameters
    ----------
    lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize
        As in ``torch.optim.Adagrad``. The weight decay is coupled.
    foreach, differentiable, fused
        Ignored.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import torch
    >>> tx = torch.Adagrad(lr=0.5, lr_decay=0.25)
    >>> grads = np.asarray([3.0, -0.5, 0.0])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.5,  0.5, -0. ])
    """
    decay = hyperparameters.nonnegative("lr_decay", lr_decay)
    rule = scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=False, rate_decay=decay)
    return count_by_leaf(chain(*before(maximize, weight_decay), rule, *after(lr)))


def Adadelta(
    lr: ScalarOrSchedule = 1.0,
    rho: Scalar = 0.9,
    eps: Scalar = 1e-6,
    weight_decay: Scalar = 0,
    foreach: bool | None = None,
    *,
    capturable: bool = False,
    maximize: bool = False,
    differentiable: bool = False,
) -> GradientTransformation:
    """Adadelta as torch computes it: `uniopt.adadelta`.

    Parameters
    ----------
    lr, rho, eps, weight_decay, maximize
        As in ``torch.optim.Adadelta``. The weight decay is coupled.
    foreach, capturable, differentiable
        Ignored.
    """
    return chain(*before(maximize, weight_decay), scale_by_adadelta(rho, eps), *after(lr))


def RMSprop(
    lr: ScalarOrSchedule = 1e-2,
    alpha: Scalar = 0.99,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    momentum: Scalar = 0,
    centered: bool = False,
    capturable: bool = False,
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
) -> GradientTransformation:
    """RMSprop as torch computes it: epsilon is outside the root, and the learning rate outside the momentum.

    Parameters
    ----------
    lr, alpha, eps, weight_decay, momentum, centered, maximize
        As in ``torch.optim.RMSprop``. The weight decay is coupled.
    capturable, foreach, differentiable
        Ignored.

    Notes
    -----
    Rounding can make a centered second moment negative. There torch makes NaN; here it is cut off at 0.
    """
    rescale = scale_by_stddev if centered else scale_by_rms
    rule = rescale(hyperparameters.decay_rate("alpha", alpha), eps, eps_in_sqrt=False)
    decay = hyperparameters.nonnegative("momentum", momentum)
    buffer = identity() if is_0(decay) else trace(decay)
    return chain(*before(maximize, weight_decay), rule, buffer, *after(lr))


def Adafactor(
    lr: ScalarOrSchedule = 1e-2,
    beta2_decay: Scalar = -0.8,
    eps: tuple[Scalar | None, Scalar] = (None, 1e-3),
    d: Scalar = 1.0,
    weight_decay: Scalar = 0.0,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
) -> GradientTransformation:
    r"""Adafactor as torch computes it: the last two axes are factored, and the rate is at most :math:`1 / \sqrt t`.

    Parameters
    ----------
    lr, beta2_decay, eps, d, weight_decay, maximize
        As in ``torch.optim.Adafactor``. ``eps[0]`` is the least value of a root; None is the distance from 1 to the
        next larger number of the leaf's dtype, float32 for 16-bit ones. The weight decay is decoupled, and multiplied
        by the learning rate as it is given.
    foreach
        Ignored.

    Notes
    -----
    torch takes the None in ``eps`` from the first parameter's dtype for all of them.
    """
    exponent = hyperparameters.nonpositive("beta2_decay", beta2_decay)
    least_root, least_size = hyperparameters.pair("eps", eps)
    least = None if least_root is None else hyperparameters.nonnegative("eps[0]", least_root)
    rule = chain(
        scale_by_factored_rms(True, -exponent, 0, 0, least, last_axes=True, clamp_estimate=True),
        clip_by_block_rms(hyperparameters.positive("d", d)),
        scale_by_param_block_rms(hyperparameters.nonnegative("eps[1]", least_size)),
        scale_by_relative_step(hyperparameters.learning_rate(lr, "lr")),
    )
    return count_by_leaf(chain(*before(maximize), rule, *shrinking(lr, weight_decay)))
