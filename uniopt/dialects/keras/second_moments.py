"""Steps scaled by second moments alone, as keras computes them."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.dialects.keras.base import optimizer
from uniopt.optimizers.adadelta import adadelta
from uniopt.optimizers.adafactor import scale_by_factored_rms, scale_by_relative_step
from uniopt.optimizers.adagrad import adagrad
from uniopt.optimizers.rmsprop import scale_by_rms, scale_by_stddev
from uniopt.transformation import GradientTransformation
from uniopt.transforms.clip import clip_by_block_rms
from uniopt.transforms.scale import identity, scale_by_learning_rate
from uniopt.transforms.trace import trace
from uniopt.transforms.trust_ratio import scale_by_param_block_rms
from uniopt.typing import Scalar, ScalarOrSchedule


@optimizer
def RMSprop(
    learning_rate: ScalarOrSchedule = 0.001,
    rho: Scalar = 0.9,
    momentum: Scalar = 0.0,
    epsilon: Scalar = 1e-7,
    centered: bool = False,
) -> GradientTransformation:
    """`uniopt.rmsprop`: epsilon inside the root, and the learning rate inside the momentum.

    Parameters
    ----------
    learning_rate, rho, momentum, epsilon, centered
        As in ``keras.optimizers.RMSprop``; the others as in `uniopt.dialects.keras`.
    """
    rescale = scale_by_stddev if hyperparameters.switch("centered", centered) else scale_by_rms
    still = isinstance(momentum, int | float) and momentum == 0
    return chain(
        rescale(hyperparameters.decay_rate("rho", rho), epsilon),
        scale_by_learning_rate(learning_rate),
        identity() if still else trace(hyperparameters.nonnegative("momentum", momentum)),
    )


@optimizer
def Adagrad(
    learning_rate: ScalarOrSchedule = 0.001, initial_accumulator_value: Scalar = 0.1, epsilon: Scalar = 1e-7
) -> GradientTransformation:
    """`uniopt.adagrad`.

    Parameters
    ----------
    learning_rate, initial_accumulator_value, epsilon
        As in ``keras.optimizers.Adagrad``; the others as in `uniopt.dialects.keras`.
    """
    return adagrad(learning_rate, initial_accumulator_value, epsilon)


@optimizer
def Adadelta(
    learning_rate: ScalarOrSchedule = 0.001, rho: Scalar = 0.95, epsilon: Scalar = 1e-7
) -> GradientTransformation:
    """`uniopt.adadelta`.

    Parameters
    ----------
    learning_rate, rho, epsilon
        As in ``keras.optimizers.Adadelta``; the others as in `uniopt.dialects.keras`.
    """
    return adadelta(learning_rate, rho, epsilon)


@optimizer
def Adafactor(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_2_decay: Scalar = -0.8,
    epsilon_1: Scalar = 1e-30,
    epsilon_2: Scalar = 1e-3,
    clip_threshold: Scalar = 1.0,
    relative_step: bool = True,
) -> GradientTransformation:
    """The last two axes are factored; the learning rate is at most one over the root of the step.

    In keras 3.15.1 `relative_step` changes nothing, and so it does here.

    Parameters
    ----------
    learning_rate, beta_2_decay, epsilon_1, epsilon_2, clip_threshold, relative_step
        As in ``keras.optimizers.Adafactor``; the others as in `uniopt.dialects.keras`.
    """
    return chain(
        scale_by_factored_rms(
            decay_rate=-hyperparameters.nonpositive("beta_2_decay", beta_2_decay),
            min_dim_size_to_factor=0,
            epsilon=epsilon_1,
            last_axes=True,
        ),
        clip_by_block_rms(hyperparameters.positive("clip_threshold", clip_threshold)),
        scale_by_param_block_rms(hyperparameters.nonnegative("epsilon_2", epsilon_2)),
        scale_by_relative_step(learning_rate),
    )
