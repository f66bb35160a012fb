"""optax's optimizers: those that follow another convention than uniopt's own, and uniopt's own where there is no other.

As measured with optax 0.2.8.
"""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.optimizers import adabelief as adabelief
from uniopt.optimizers import adadelta as adadelta
from uniopt.optimizers import adafactor as adafactor
from uniopt.optimizers import adagrad as adagrad
from uniopt.optimizers import adam as adam
from uniopt.optimizers import adamax as adamax
from uniopt.optimizers import adamaxw as adamaxw
from uniopt.optimizers import adamw as adamw
from uniopt.optimizers import adan as adan
from uniopt.optimizers import amsgrad as amsgrad
from uniopt.optimizers import fromage as fromage
from uniopt.optimizers import lamb as lamb
from uniopt.optimizers import lars as lars
from uniopt.optimizers import lion as lion
from uniopt.optimizers import nadam as nadam
from uniopt.optimizers import nadamw as nadamw
from uniopt.optimizers import noisy_sgd as noisy_sgd
from uniopt.optimizers import novograd as novograd
from uniopt.optimizers import optimistic_adam as optimistic_adam
from uniopt.optimizers import optimistic_adam_v2 as optimistic_adam_v2
from uniopt.optimizers import radam as radam
from uniopt.optimizers import rmsprop as rmsprop
from uniopt.optimizers import sgd as sgd
from uniopt.optimizers import sign_sgd as sign_sgd
from uniopt.optimizers import signum as signum
from uniopt.optimizers import sm3 as sm3
from uniopt.optimizers import yogi as yogi
from uniopt.optimizers.optimistic import scale_by_optimistic_gradient
from uniopt.optimizers.polyak import scale_by_polyak
from uniopt.optimizers.rprop import scale_by_rprop
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale, scale_by_learning_rate
from uniopt.typing import Scalar, ScalarOrSchedule

ADDED = {
    "optimistic_gradient_descent": ("zero_first_gradient",),
    "sgd": ("dampening", "undampened_first_step"),
}
"""The parameters that optimizers have here and not in optax."""


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


def polyak_sgd(
    max_learning_rate: Scalar = 1.0,
    scaling: ScalarOrSchedule = 1.0,
    f_min: Scalar = 0.0,
    eps: Scalar = 0.0,
    variant: str = "sps",
) -> GradientTransformation:
    """Polyak's gradient descent as optax computes it: the norm is that of the gradients times `scaling`.

    Parameters
    ----------
    max_learning_rate, scaling, f_min, eps, variant
        As in `uniopt.polyak_sgd`. A smaller `scaling` makes larger steps, as long as the bound is not reached.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import optax
    >>> tx = optax.polyak_sgd(scaling=0.5)
    >>> grads = np.asarray([6.0, -8.0])
    >>> tx.update(grads, tx.init(grads), value=25.0)[0]
    array([-3.,  4.])
    """
    factor = hyperparameters.learning_rate(scaling, "scaling")
    return chain(scale_by_learning_rate(factor), scale_by_polyak(f_min, max_learning_rate, eps, variant))


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
