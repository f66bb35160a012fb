"""SGD and AdamW without a schedule of the learning rate."""

from __future__ import annotations

from typing import Any

from uniopt.chain import chain
from uniopt.optimizers.rmsprop import scale_by_rms
from uniopt.optimizers.sgd import sgd
from uniopt.schedules import linear_schedule
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.transforms.schedule_free import schedule_free
from uniopt.typing import Scalar, ScalarOrSchedule


def schedule_free_sgd(
    learning_rate: Scalar = 1.0,
    warmup_steps: int | None = None,
    b1: Scalar = 0.9,
    weight_decay: Scalar | None = None,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    """`schedule_free` of SGD.

    Parameters
    ----------
    learning_rate
        The learning rate, after the warmup.
    warmup_steps
        Number of steps in which it rises from 0 to that.
    b1, weight_lr_power, state_dtype
        As in `schedule_free`.
    weight_decay
        Coupled weight decay: this times the parameters is added to the gradients.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.schedule_free_sgd(0.5)
    >>> params = np.asarray([4.0])
    >>> tx.update(params, tx.init(params), params)[0]
    array([-2.])
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = sgd(rate) if weight_decay is None else chain(add_decayed_weights(weight_decay), sgd(rate))
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


def schedule_free_adamw(
    learning_rate: Scalar = 0.0025,
    warmup_steps: int | None = None,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    """`schedule_free` of AdamW without momentum.

    Parameters
    ----------
    learning_rate
        The learning rate, after the warmup.
    warmup_steps
        Number of steps in which it rises from 0 to that.
    b1, weight_lr_power, state_dtype
        As in `schedule_free`.
    b2, eps, weight_decay
        As in `adamw`.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    The base optimizer is `scale_by_rms` with bias correction: Adam without a first moment.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.schedule_free_adamw(0.5, eps=0.0)
    >>> params = np.asarray([4.0])
    >>> tx.update(params, tx.init(params), params)[0]
    array([-0.5])
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = chain(
        scale_by_rms(decay=b2, eps=eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


def _warmed_up(learning_rate: Scalar, warmup_steps: int | None) -> ScalarOrSchedule:
    return learning_rate if warmup_steps is None else linear_schedule(0.0, learning_rate, warmup_steps)
