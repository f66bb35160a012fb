r"""Optimistic methods: each step also corrects the last one by how the gradient has changed."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.errors import HyperparameterError
from uniopt.leafwise import leafwise
from uniopt.numerics import abs_squared
from uniopt.optimizers.adam import scale_by_adam
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale, scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByOptimisticGradientState(NamedTuple):
    """Whether a leaf has had no gradient yet, and its last gradient."""

    is_initial_step: Tree  # one bool a leaf, shape ()
    previous_gradient: Tree  # like the parameters


def scale_by_optimistic_gradient(
    alpha: Scalar = 1.0, beta: Scalar = 1.0, *, zero_first_gradient: bool = False
) -> GradientTransformation:
    """Extrapolate the gradients; see `optimistic_gradient_descent` for formula and parameters.

    With `zero_first_gradient`, the gradient before the first one is taken as 0, as optax did earlier.
    """
    return leafwise(
        ScaleByOptimisticGradientState,
        _init,
        _scale_by_optimistic_gradient,
        alpha=hyperparameters.number("alpha", alpha),
        beta=hyperparameters.number("beta", beta),
        zero_first_gradient=hyperparameters.switch("zero_first_gradient", zero_first_gradient),
    )


def optimistic_gradient_descent(
    learning_rate: ScalarOrSchedule, alpha: Scalar = 1.0, beta: Scalar = 1.0
) -> GradientTransformation:
    r"""Gradient descent that looks ahead by the last change of the gradient; for games and saddle points.

    .. math::

        u_t = -\eta_t \left( (\alpha + \beta) g_t - \beta g_{t-1} \right), \qquad g_0 = g_1

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    alpha
        :math:`\alpha`, weight of the gradient.
    beta
        :math:`\beta`, weight of its change.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByOptimisticGradientState`: ``is_initial_step`` (one bool a leaf) and
        ``previous_gradient`` in the parameters' dtype, float32 for 16-bit ones.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same; earlier versions took :math:`g_0 = 0`, which doubles the first step, as
    `uniopt.dialects.optax.optimistic_gradient_descent` does with ``zero_first_gradient=True``. torch, mlx and keras do
    not have it.

    References
    ----------
    Mokhtari, Ozdaglar and Pattathil, "A unified analysis of extra-gradient and optimistic gradient methods for saddle
    point problems", AISTATS 2020, arXiv:1901.08511.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.optimistic_gradient_descent(0.1)
    >>> first, state = tx.update(np.asarray([3.0]), tx.init(np.asarray([0.0])))
    >>> second, state = tx.update(np.asarray([2.0]), state)
    >>> first.round(6), second.round(6)
    (array([-0.3]), array([-0.1]))
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))


def optimistic_adam(
    learning_rate: Scalar,
    optimism: Scalar | None = None,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> GradientTransformation:
    r"""Adam that looks ahead by the last change of its direction, with the rates inside.

    With :math:`d_t` the direction of `adam` before its learning rate,

    .. math::

        u_t = -\left( (\eta + \omega) d_t - \omega d_{t-1} \right), \qquad d_0 = d_1

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number or a 0-d array. For a schedule, use `optimistic_adam_v2`.
    optimism
        :math:`\omega`; by default the learning rate.
    b1, b2, eps, eps_root, mu_dtype, nesterov
        As in `adam`; here `nesterov` is True by default.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState` in the dtypes of `adam`, and `ScaleByOptimisticGradientState`:
        ``is_initial_step`` (one bool a leaf) and ``previous_gradient`` in the parameters' dtype, float32 for 16-bit
        ones.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or the learning rate is a schedule.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Daskalakis et al., "Training GANs with optimism", ICLR 2018, arXiv:1711.00141.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.optimistic_adam(0.1, nesterov=False)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.1,  0.1])
    """
    if callable(learning_rate):
        raise HyperparameterError(
            f"learning_rate is {learning_rate!r}, expected a number or a 0-d array. "
            "For a schedule, use optimistic_adam_v2."
        )
    rate = hyperparameters.nonnegative("learning_rate", learning_rate)
    weight = rate if optimism is None else hyperparameters.number("optimism", optimism)
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(rate, weight),
        scale(-1.0),  # the rate is in the two factors
    )


def optimistic_adam_v2(
    learning_rate: ScalarOrSchedule,
    *,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = True,
) -> GradientTransformation:
    r"""Adam that looks ahead by the last change of its direction.

    With :math:`d_t` the direction of `adam` before its learning rate,

    .. math::

        u_t = -\eta_t \left( (\alpha + \beta) d_t - \beta d_{t-1} \right), \qquad d_0 = d_1

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    alpha, beta
        :math:`\alpha, \beta`, weights of the direction and of its change.
    b1, b2, eps, eps_root, mu_dtype, nesterov
        As in `adam`; here `nesterov` is True by default.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAdamState` in the dtypes of `adam`, and `ScaleByOptimisticGradientState`:
        ``is_initial_step`` (one bool a leaf) and ``previous_gradient`` in the parameters' dtype, float32 for 16-bit
        ones.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch, mlx and keras do not have it.

    References
    ----------
    Daskalakis et al., "Training GANs with optimism", ICLR 2018, arXiv:1711.00141.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.optimistic_adam_v2(0.1, nesterov=False)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.1,  0.1])
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
    )


def _init(xp: Any, p: Array) -> dict[str, Array]:
    zero = xp.zeros_like(xp.sum(abs_squared(xp, p)))
    return {"is_initial_step": zero == 0, "previous_gradient": xp.zeros_like(p)}


def _scale_by_optimistic_gradient(
    xp: Any,
    g: Array,
    s: ScaleByOptimisticGradientState,
    *,
    alpha: Scalar,
    beta: Scalar,
    zero_first_gradient: bool,
) -> tuple[Array, ScaleByOptimisticGradientState]:
    previous = s.previous_gradient if zero_first_gradient else xp.where(s.is_initial_step, g, s.previous_gradient)
    update = (alpha + beta) * g - beta * previous
    own = 1 * g  # not the gradient's memory, which may be written to before the next step
    return update, s._replace(is_initial_step=xp.zeros_like(s.is_initial_step), previous_gradient=own)
