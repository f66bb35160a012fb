"""torch's SGD, ASGD and Rprop."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.dialects.torch.around import after, before, is_0
from uniopt.errors import HyperparameterError
from uniopt.optimizers.asgd import scale_by_asgd
from uniopt.optimizers.rprop import scale_by_rprop
from uniopt.transformation import GradientTransformation
from uniopt.transforms.count_by_leaf import count_by_leaf
from uniopt.transforms.scale import identity, scale
from uniopt.transforms.trace import trace
from uniopt.typing import Scalar, ScalarOrSchedule


def SGD(
    lr: ScalarOrSchedule = 1e-3,
    momentum: Scalar = 0,
    dampening: Scalar = 0,
    weight_decay: Scalar = 0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    fused: bool | None = None,
) -> GradientTransformation:
    """SGD as torch computes it: a leaf's first gradient is not dampened, and the weight decay is coupled.

    Parameters
    ----------
    lr, momentum, dampening, weight_decay, nesterov, maximize
        As in ``torch.optim.SGD``. Without momentum, the dampening has no effect.
    foreach, differentiable, fused
        Ignored.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or `nesterov` is set without momentum or with dampening.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import torch
    >>> tx = torch.SGD(lr=0.1, momentum=0.5, dampening=0.5)
    >>> grads = np.asarray([2.0])
    >>> first, state = tx.update(grads, tx.init(grads))
    >>> second, state = tx.update(grads, state)
    >>> first, second
    (array([-0.2]), array([-0.2]))
    """
    decay = hyperparameters.nonnegative("momentum", momentum)
    dampening = hyperparameters.decay_rate("dampening", dampening)
    still = is_0(decay)
    if nesterov and (still or not is_0(dampening)):
        raise HyperparameterError(
            f"nesterov is True with momentum={momentum!r} and dampening={dampening!r}; "
            "expected a momentum above 0 and no dampening, or nesterov=False."
        )
    buffer = trace(decay, nesterov, dampening=dampening, undampened_first_step=True)
    return chain(*before(maximize, weight_decay), identity() if still else buffer, *after(lr))


def ASGD(
    lr: ScalarOrSchedule = 1e-2,
    lambd: Scalar = 1e-4,
    alpha: Scalar = 0.75,
    t0: Scalar = 1e6,
    weight_decay: Scalar = 0,
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
) -> GradientTransformation:
    r"""ASGD as torch computes it: the parameters are multiplied by :math:`1 - \lambda\eta_n`.

    Parameters
    ----------
    lr, lambd, alpha, t0, weight_decay, maximize
        As in ``torch.optim.ASGD``. Another learning rate has its effect one step late.
    foreach, differentiable, capturable
        Ignored.

    Notes
    -----
    torch keeps the rates in its default dtype. If that is float32, its float64 parameters are off by up to 4e-8 of the
    distance moved.
    """
    rate = hyperparameters.learning_rate(lr, "lr")
    rule = scale_by_asgd(rate, lambd, alpha, t0, multiply_decay=True, keep_rate=True)
    return count_by_leaf(chain(*before(maximize, weight_decay), rule))


def Rprop(
    lr: Scalar = 1e-2,
    etas: tuple[Scalar, Scalar] = (0.5, 1.2),
    step_sizes: tuple[Scalar, Scalar] = (1e-6, 50),
    *,
    capturable: bool = False,
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
) -> GradientTransformation:
    """Rprop as torch computes it: `uniopt.rprop`, whose first step too keeps to the bounds.

    Parameters
    ----------
    lr
        The first step size: a number or a 0-d array. A schedule would have no effect, so there is none.
    etas, step_sizes, maximize
        As in ``torch.optim.Rprop``.
    capturable, foreach, differentiable
        Ignored.

    Notes
    -----
    torch multiplies successive gradients, which makes 0 of two float32 gradients below 1e-23. Here signs are compared.
    """
    minus, plus = hyperparameters.pair("etas", etas)
    eta_minus = hyperparameters.decay_rate("etas[0]", minus)
    eta_plus = hyperparameters.number("etas[1]", plus, at_least=1.0)
    bounds = hyperparameters.pair("step_sizes", step_sizes)
    least, largest = (hyperparameters.nonnegative(f"step_sizes[{i}]", x) for i, x in enumerate(bounds))
    size = hyperparameters.nonnegative("lr", lr)
    rule = scale_by_rprop(size, eta_minus, eta_plus, least, largest, bound_every_size=True)
    return chain(*before(maximize), rule, scale(-1.0))
