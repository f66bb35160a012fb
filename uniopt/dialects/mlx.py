"""The optimizers of ``mlx.optimizers`` on every library: its names, parameters, defaults and conventions.

As measured with mlx 0.32.4. Weight decay is coupled in `SGD` and `Muon`; in `AdamW` and `Lion` the parameters are
multiplied by :math:`1 - \\eta\\lambda`, and in `Adafactor` :math:`\\lambda` is multiplied by their size too. A schedule
counts from 0.
"""

from __future__ import annotations

from typing import Any

from uniopt import hyperparameters, tree
from uniopt.chain import chain
from uniopt.dialects.rates import at_most_inverse_sqrt, in_proportion, times
from uniopt.errors import HyperparameterError
from uniopt.optimizers.adadelta import adadelta
from uniopt.optimizers.adafactor import scale_by_factored_rms
from uniopt.optimizers.adagrad import scale_by_rss
from uniopt.optimizers.adam import scale_by_adam
from uniopt.optimizers.adamax import scale_by_adamax
from uniopt.optimizers.lion import scale_by_lion
from uniopt.optimizers.muon import scale_by_muon, scale_by_shape
from uniopt.optimizers.newton_schulz import MuonDimensionNumbers
from uniopt.optimizers.rmsprop import scale_by_rms
from uniopt.transformation import GradientTransformation
from uniopt.transforms.clip import clip_by_block_rms
from uniopt.transforms.decay import add_decayed_weights, shrink_weights
from uniopt.transforms.ema import ema
from uniopt.transforms.partition import partition
from uniopt.transforms.scale import identity, scale, scale_by_learning_rate
from uniopt.transforms.trace import trace
from uniopt.transforms.trust_ratio import scale_by_param_block_rms
from uniopt.typing import Scalar, ScalarOrSchedule, Tree

Betas = tuple[Scalar, Scalar]


def SGD(
    learning_rate: ScalarOrSchedule,
    momentum: Scalar = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    dampening: Scalar = 0.0,
    nesterov: bool = False,
) -> GradientTransformation:
    """Coupled decay; the first gradient is dampened like all others.

    Parameters
    ----------
    learning_rate, momentum, weight_decay, dampening, nesterov
        As in ``mlx.optimizers.SGD``.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import mlx
    >>> tx = mlx.SGD(learning_rate=0.5, momentum=0.9, dampening=0.5)
    >>> tx.update(np.ones(1), tx.init(np.ones(1)), np.ones(1))[0]
    array([-0.25])
    """
    moves = not _is_zero(momentum)
    if nesterov and not (moves and _is_zero(dampening)):
        raise HyperparameterError(
            f"nesterov is True with momentum={momentum!r} and dampening={dampening!r}, expected a momentum above 0 and "
            "no dampening with it."
        )
    decay = hyperparameters.nonnegative("momentum", momentum)
    return chain(
        add_decayed_weights(weight_decay),
        trace(decay, nesterov, dampening=dampening) if moves else identity(),
        scale_by_learning_rate(learning_rate),
    )


def RMSprop(learning_rate: ScalarOrSchedule, alpha: Scalar = 0.99, eps: Scalar = 1e-8) -> GradientTransformation:
    """Epsilon outside the root.

    Parameters
    ----------
    learning_rate, alpha, eps
        As in ``mlx.optimizers.RMSprop``.
    """
    alpha = hyperparameters.decay_rate("alpha", alpha)
    return chain(scale_by_rms(alpha, eps, eps_in_sqrt=False), scale_by_learning_rate(learning_rate))


def Adagrad(learning_rate: ScalarOrSchedule, eps: Scalar = 1e-8) -> GradientTransformation:
    """The sum starts at 0; epsilon outside the root.

    Parameters
    ----------
    learning_rate, eps
        As in ``mlx.optimizers.Adagrad``.
    """
    return chain(scale_by_rss(0.0, eps, eps_in_sqrt=False), scale_by_learning_rate(learning_rate))


def AdaDelta(learning_rate: ScalarOrSchedule, rho: Scalar = 0.9, eps: Scalar = 1e-6) -> GradientTransformation:
    """`uniopt.adadelta`.

    Parameters
    ----------
    learning_rate, rho, eps
        As in ``mlx.optimizers.AdaDelta``.
    """
    return adadelta(hyperparameters.learning_rate(learning_rate), rho, eps)


def Adam(
    learning_rate: ScalarOrSchedule,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    bias_correction: bool = False,
) -> GradientTransformation:
    """No bias correction unless asked for.

    Parameters
    ----------
    learning_rate, betas, eps, bias_correction
        As in ``mlx.optimizers.Adam``.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import mlx
    >>> tx = mlx.Adam(learning_rate=0.5, betas=[0.5, 0.75])
    >>> tx.update(np.ones(1), tx.init(np.ones(1)))[0].round(6)
    array([-0.5])
    """
    b1, b2 = hyperparameters.decay_rates("betas", betas)
    return chain(scale_by_adam(b1, b2, eps, bias_correction=bias_correction), scale_by_learning_rate(learning_rate))


def AdamW(
    learning_rate: ScalarOrSchedule,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.01,
    bias_correction: bool = False,
) -> GradientTransformation:
    """`Adam` of parameters that were multiplied by one minus learning rate times decay.

    Parameters
    ----------
    learning_rate, betas, eps, weight_decay, bias_correction
        As in ``mlx.optimizers.AdamW``.
    """
    return chain(Adam(learning_rate, betas, eps, bias_correction), shrink_weights(learning_rate, weight_decay))


def Adamax(learning_rate: ScalarOrSchedule, betas: Betas = (0.9, 0.999), eps: Scalar = 1e-8) -> GradientTransformation:
    """No bias correction; epsilon is added to the maximum.

    Parameters
    ----------
    learning_rate, betas, eps
        As in ``mlx.optimizers.Adamax``.
    """
    b1, b2 = hyperparameters.decay_rates("betas", betas)
    return chain(
        scale_by_adamax(b1, b2, eps, bias_correction=False, eps_in_maximum=False), scale_by_learning_rate(learning_rate)
    )


def Lion(
    learning_rate: ScalarOrSchedule, betas: Betas = (0.9, 0.99), weight_decay: Scalar = 0.0
) -> GradientTransformation:
    """Decay as in `AdamW`.

    Parameters
    ----------
    learning_rate, betas, weight_decay
        As in ``mlx.optimizers.Lion``.
    """
    b1, b2 = hyperparameters.decay_rates("betas", betas)
    return chain(
        scale_by_lion(b1, b2), scale_by_learning_rate(learning_rate), shrink_weights(learning_rate, weight_decay)
    )


def Adafactor(
    learning_rate: ScalarOrSchedule | None = None,
    eps: tuple[Scalar, Scalar] = (1e-30, 1e-3),
    clip_threshold: Scalar = 1.0,
    decay_rate: Scalar = -0.8,
    beta_1: Scalar | None = None,
    weight_decay: Scalar = 0.0,
    scale_parameter: bool = True,
    relative_step: bool = True,
    warmup_init: bool = False,
) -> GradientTransformation:
    """The last two axes are factored; the momentum is that of whole steps; `learning_rate` is ignored if relative.

    Parameters
    ----------
    learning_rate, eps, clip_threshold, decay_rate, beta_1, weight_decay, scale_parameter, relative_step, warmup_init
        As in ``mlx.optimizers.Adafactor``.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import mlx
    >>> tx = mlx.Adafactor()
    >>> params = np.asarray([[1.0, 2.0], [2.0, 4.0]])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([[-0.025, -0.025],
           [-0.025, -0.025]])
    """
    if relative_step:
        rate: ScalarOrSchedule = at_most_inverse_sqrt(in_proportion(1e-6) if warmup_init else 1e-2)
    elif learning_rate is None:
        raise HyperparameterError("learning_rate is None with relative_step=False, expected one of them.")
    else:
        rate = hyperparameters.learning_rate(learning_rate)
    added, least = hyperparameters.pair("eps", eps)
    decay = hyperparameters.nonnegative("weight_decay", weight_decay)
    return chain(
        scale_by_factored_rms(
            decay_rate=-hyperparameters.nonpositive("decay_rate", decay_rate),
            min_dim_size_to_factor=0,
            epsilon=added,
            last_axes=True,
        ),
        clip_by_block_rms(hyperparameters.positive("clip_threshold", clip_threshold)),
        scale_by_param_block_rms(least) if scale_parameter else identity(),
        scale_by_learning_rate(rate, flip_sign=False),
        identity() if beta_1 is None else ema(hyperparameters.decay_rate("beta_1", beta_1), debias=False),
        identity()
        if _is_zero(decay)
        else add_decayed_weights(times(rate, decay), min_scale=least if scale_parameter else None),
        scale(-1.0),
    )


def Muon(
    learning_rate: ScalarOrSchedule,
    momentum: Scalar = 0.95,
    weight_decay: ScalarOrSchedule = 0.01,
    nesterov: bool = True,
    ns_steps: int = 5,
) -> GradientTransformation:
    """Coupled decay; vectors and scalars descend along the momentum as it is.

    From rank 3 on, the axes after the first are one; but the last two alone make the factor.

    Parameters
    ----------
    learning_rate, momentum, weight_decay, nesterov, ns_steps
        As in ``mlx.optimizers.Muon``.
    """
    momentum = hyperparameters.decay_rate("momentum", momentum)
    matrices = chain(
        scale_by_muon(
            ns_steps=ns_steps,
            beta=momentum,
            eps=1e-7,
            nesterov=nesterov,
            weight_dimension_numbers=_outputs_first,
            bias_correction=False,
        ),
        scale_by_shape(MuonDimensionNumbers(reduction_axis=-1, output_axis=-2)),
    )
    others = chain(trace(momentum, nesterov), scale(1 - momentum))
    return chain(
        add_decayed_weights(weight_decay),
        partition({"matrices": matrices, "others": others}, _ranks),
        scale_by_learning_rate(learning_rate),
    )


def _is_zero(x: Any) -> bool:
    return isinstance(x, int | float) and x == 0


def _outputs_first(params: Tree) -> Tree:
    return tree.map(lambda p: MuonDimensionNumbers(tuple(range(1, p.ndim)), 0), params)


def _ranks(params: Tree) -> Tree:
    return tree.map(lambda p: "matrices" if p.ndim > 1 else "others", params)
