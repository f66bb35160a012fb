"""Adam and its relatives as keras computes them."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.dialects.keras.base import optimizer
from uniopt.dialects.rates import warmed_up
from uniopt.errors import HyperparameterError
from uniopt.optimizers.adam import scale_by_adam
from uniopt.optimizers.adamax import scale_by_adamax
from uniopt.optimizers.amsgrad import scale_by_amsgrad
from uniopt.optimizers.rmsprop import scale_by_rms
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.transforms.schedule_free import schedule_free
from uniopt.transforms.trust_ratio import scale_by_trust_ratio
from uniopt.typing import Integer, Scalar, ScalarOrSchedule


@optimizer
def Adam(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: Scalar = 0.9,
    beta_2: Scalar = 0.999,
    epsilon: Scalar = 1e-7,
    amsgrad: bool = False,
) -> GradientTransformation:
    """Epsilon is added before the bias correction; `amsgrad` takes the maximum before it too.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon, amsgrad
        As in ``keras.optimizers.Adam``; the others as in `uniopt.dialects.keras`.
    """
    checked = _checked(beta_1, beta_2, epsilon)
    if amsgrad:
        rule = scale_by_amsgrad(*checked, bias_correction_nu=False, eps_before_correction=True)
    else:
        rule = scale_by_adam(*checked, eps_before_correction=True)
    return chain(rule, scale_by_learning_rate(learning_rate))


@optimizer
def AdamW(
    learning_rate: ScalarOrSchedule = 0.001,
    weight_decay: Scalar = 0.004,
    beta_1: Scalar = 0.9,
    beta_2: Scalar = 0.999,
    epsilon: Scalar = 1e-7,
    amsgrad: bool = False,
) -> GradientTransformation:
    """`Adam` that decays by default.

    Parameters
    ----------
    learning_rate, weight_decay, beta_1, beta_2, epsilon, amsgrad
        As in ``keras.optimizers.AdamW``; the others as in `uniopt.dialects.keras`.
    """
    if weight_decay is None:
        raise HyperparameterError("weight_decay is None, expected a number; Adam does without.")
    return Adam(learning_rate, beta_1, beta_2, epsilon, amsgrad)


@optimizer
def Adamax(
    learning_rate: ScalarOrSchedule = 0.001, beta_1: Scalar = 0.9, beta_2: Scalar = 0.999, epsilon: Scalar = 1e-7
) -> GradientTransformation:
    """Epsilon is added to the maximum.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        As in ``keras.optimizers.Adamax``; the others as in `uniopt.dialects.keras`.
    """
    return chain(
        scale_by_adamax(*_checked(beta_1, beta_2, epsilon), eps_in_maximum=False), scale_by_learning_rate(learning_rate)
    )


@optimizer
def Nadam(
    learning_rate: ScalarOrSchedule = 0.001, beta_1: Scalar = 0.9, beta_2: Scalar = 0.999, epsilon: Scalar = 1e-7
) -> GradientTransformation:
    """The momentum rises over the first steps; epsilon is added after the bias correction.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        As in ``keras.optimizers.Nadam``; the others as in `uniopt.dialects.keras`.
    """
    return chain(
        scale_by_adam(*_checked(beta_1, beta_2, epsilon), nesterov=True, momentum_decay=1.0),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def Lamb(
    learning_rate: ScalarOrSchedule = 0.001, beta_1: Scalar = 0.9, beta_2: Scalar = 0.999, epsilon: Scalar = 1e-7
) -> GradientTransformation:
    """The trust ratio has no part of the decay, but the norm of the parameters after it.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        As in ``keras.optimizers.Lamb``; the others as in `uniopt.dialects.keras`.
    """
    return chain(
        scale_by_adam(*_checked(beta_1, beta_2, epsilon)), scale_by_trust_ratio(), scale_by_learning_rate(learning_rate)
    )


@optimizer
def ScheduleFreeAdamW(
    learning_rate: ScalarOrSchedule = 0.0025,
    beta_1: Scalar = 0.9,
    beta_2: Scalar = 0.999,
    epsilon: Scalar = 1e-8,
    warmup_steps: Integer = 0,
) -> GradientTransformation:
    """All iterates have the same weight in the average, those of the warmup too.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon, warmup_steps
        As in ``keras.optimizers.ScheduleFreeAdamW``; the others as in `uniopt.dialects.keras`.
    """
    warmup = hyperparameters.integer("warmup_steps", warmup_steps, at_least=0)
    without = isinstance(warmup, int) and warmup == 0
    rate = learning_rate if without else warmed_up(learning_rate, warmup)
    b1, b2, eps = _checked(beta_1, beta_2, epsilon)
    base = chain(scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True), scale_by_learning_rate(rate))
    return schedule_free(base, 1.0, b1, weight_lr_power=0.0)


def _checked(beta_1: Scalar, beta_2: Scalar, epsilon: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Return the three, normalised; HyperparameterError if one is out of range."""
    return (
        hyperparameters.decay_rate("beta_1", beta_1),
        hyperparameters.decay_rate("beta_2", beta_2),
        hyperparameters.nonnegative("epsilon", epsilon),
    )
