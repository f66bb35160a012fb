"""optax's optimizers where they follow another convention than uniopt's own; all others are uniopt's own.

As measured with optax 0.2.8.
"""

from __future__ import annotations

from uniopt.chain import chain
from uniopt.optimizers.optimistic import scale_by_optimistic_gradient
from uniopt.optimizers.rprop import scale_by_rprop
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale, scale_by_learning_rate
from uniopt.typing import Scalar, ScalarOrSchedule


def rprop(
    learning_rate: Scalar,
    eta_minus: Scalar = 0.5,
    eta_plus: Scalar = 1.2,
    min_step_size: Scalar = 1e-6,
    max_step_size: Scalar = 50.0,
) -> GradientTransformation:
    """Rprop as optax computes it: every step is applied one step late, and the first update is 0.

    Parameters
    ----------
    learning_rate, eta_minus, eta_plus, min_step_size, max_step_size
        As in `uniopt.rprop`.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import optax
    >>> tx = optax.rprop(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> first, state = tx.update(grads, tx.init(grads))
    >>> second, state = tx.update(grads, state)
    >>> first, second
    (array([-0., -0.]), array([-0.1,  0.1]))
    """
    late = scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size, one_step_late=True)
    return chain(late, scale(-1.0))


def optimistic_gradient_descent(
    learning_rate: ScalarOrSchedule, alpha: Scalar = 1.0, beta: Scalar = 1.0, *, zero_first_gradient: bool = False
) -> GradientTransformation:
    """Optimistic gradient descent as optax computes it, now or in earlier versions.

    Parameters
    ----------
    learning_rate, alpha, beta
        As in `uniopt.optimistic_gradient_descent`.
    zero_first_gradient
        Whether the gradient before the first one counts as 0, which doubles the first step, as in earlier versions;
        otherwise it counts as equal to the first one, as in uniopt.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import optax
    >>> tx = optax.optimistic_gradient_descent(0.1, zero_first_gradient=True)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0].round(6)
    array([-0.6,  0.1])
    """
    extrapolated = scale_by_optimistic_gradient(alpha, beta, zero_first_gradient=zero_first_gradient)
    return chain(extrapolated, scale_by_learning_rate(learning_rate))
