"""SGD and AdamW without a schedule of the learning rate."""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.optimizers.rmsprop import scale_by_rms
from uniopt.optimizers.sgd import sgd
from uniopt.schedules import linear_schedule
from uniopt.schedules.time import of_time
from uniopt.transformation import Bound, GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.transforms.schedule_free import schedule_free
from uniopt.typing import Integer, Scalar, ScalarOrSchedule


def schedule_free_sgd(
    learning_rate: Scalar = 1.0,
    warmup_steps: Integer | None = None,
    b1: Scalar = 0.9,
    weight_decay: Scalar | None = None,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    r"""Gradient descent whose averages take the place of momentum and of a falling learning rate.

    With the parameters :math:`y_t`, at which the gradients :math:`g_t` are taken,

    .. math::

        z_{t+1} &= z_t - \eta_t (g_t + \lambda y_t) \\
        x_{t+1} &= (1 - c_t) x_t + c_t z_{t+1}, \qquad
        c_t = w_t / \textstyle\sum_{i \le t} w_i, \qquad w_t = \max_{i \le t} \eta_{i+1}^{\,r} \\
        y_{t+1} &= \beta_1 x_{t+1} + (1 - \beta_1) z_{t+1}

    Evaluate at :math:`x`, which `schedule_free_eval_params` returns.

    Parameters
    ----------
    learning_rate
        The learning rate, after the warmup.
    warmup_steps
        Number of steps in which :math:`\eta_t` rises from 0 to that.
    b1
        :math:`\beta_1`, in (0, 1].
    weight_decay
        :math:`\lambda`, coupled weight decay.
    weight_lr_power
        :math:`r`.
    state_dtype
        Dtype of :math:`z`; by default that of the parameters, float32 for 16-bit ones.

    Returns
    -------
    GradientTransformation
        Its state is `ScheduleFreeState`: ``b1``, ``weight_sum`` and ``max_lr`` in the first leaf's dtype (at least
        float32), ``step_count`` (int32), and ``z`` in `state_dtype`. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it; `schedule_free` makes the same of other optimizers.

    References
    ----------
    Defazio et al., "The road less scheduled", NeurIPS 2024, arXiv:2405.15682.

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
    warmup_steps: Integer | None = None,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    r"""AdamW whose averages take the place of its first moment and of a falling learning rate.

    With the parameters :math:`y_t`, at which the gradients :math:`g_t` are taken,

    .. math::

        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \qquad \hat{v}_t = v_t / (1 - \beta_2^t) \\
        z_{t+1} &= z_t - \eta_t \left( \frac{g_t}{\sqrt{\hat{v}_t} + \varepsilon} + \lambda y_t \right)

    and :math:`x`, :math:`y` and :math:`\eta` as in `schedule_free_sgd`. Evaluate at :math:`x`, which
    `schedule_free_eval_params` returns.

    Parameters
    ----------
    learning_rate
        The learning rate, after the warmup.
    warmup_steps
        Number of steps in which :math:`\eta_t` rises from 0 to that.
    b1
        :math:`\beta_1`, in (0, 1]: weight of :math:`x` in :math:`y`.
    b2
        :math:`\beta_2` in [0, 1): decay rate of the second moment.
    eps
        :math:`\varepsilon`, outside the root.
    weight_decay
        :math:`\lambda`. It is multiplied by the learning rate.
    weight_lr_power
        :math:`r`, the power in the weights of the average.
    state_dtype
        Dtype of :math:`z`; by default that of the parameters, float32 for 16-bit ones.

    Returns
    -------
    GradientTransformation
        Its state is `ScheduleFreeState`: ``b1``, ``weight_sum`` and ``max_lr`` in the first leaf's dtype (at least
        float32), ``step_count`` (int32), ``z`` in `state_dtype`, and `ScaleByRmsWithCountState`. Its ``update`` needs
        the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it; `schedule_free` makes the same of other optimizers.

    References
    ----------
    Defazio et al., "The road less scheduled", NeurIPS 2024, arXiv:2405.15682, algorithm 1.

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
        scale_by_rms(decay=hyperparameters.decay_rate("b2", b2), eps=eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


def _warmed_up(learning_rate: Scalar, warmup_steps: Integer | None) -> ScalarOrSchedule:
    if warmup_steps is None:
        return learning_rate
    steps = hyperparameters.integer("warmup_steps", warmup_steps, at_least=0)
    rate = hyperparameters.nonnegative("learning_rate", learning_rate)
    return linear_schedule(0.0, rate, steps) if isinstance(steps, int) else Bound(_rising, rate=rate, steps=steps)


@of_time
def _rising(xp: Any, n: Scalar, *, rate: Scalar, steps: Integer) -> Scalar:
    """Return what `linear_schedule` does from 0 to a rate, in a number of steps that is an array."""
    steps = xp.astype(steps, n.dtype)
    left = 1.0 - xp.minimum(n / xp.maximum(steps, 1.0), 1.0)
    return -rate * xp.where(steps > 0.0, left, xp.ones_like(left)) + rate
