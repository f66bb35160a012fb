"""What torch does around every rule: before it to the gradients, and after it to the parameters."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.transformation import GradientTransformation
from uniopt.transforms.decay import add_decayed_weights, shrink_weights
from uniopt.transforms.scale import scale, scale_by_learning_rate
from uniopt.typing import Scalar, ScalarOrSchedule


def before(maximize: bool, coupled_decay: Scalar = 0.0) -> list[GradientTransformation]:
    """Return the stages that turn the gradients round, and that add the weight decay to them."""
    decay = hyperparameters.nonnegative("weight_decay", coupled_decay)
    turned = [scale(-1.0)] if maximize else []
    return turned if is_0(decay) else [*turned, add_decayed_weights(decay)]


def after(lr: ScalarOrSchedule, decoupled_decay: Scalar = 0.0) -> list[GradientTransformation]:
    """Return the stages that apply the learning rate, and that let the parameters shrink."""
    return [scale_by_learning_rate(hyperparameters.learning_rate(lr, "lr")), *shrinking(lr, decoupled_decay)]


def shrinking(lr: ScalarOrSchedule, decoupled_decay: Scalar) -> list[GradientTransformation]:
    """Return the stage that lets the parameters shrink, if they do."""
    decay = hyperparameters.nonnegative("weight_decay", decoupled_decay)
    return [] if is_0(decay) else [shrink_weights(hyperparameters.learning_rate(lr, "lr"), decay)]


def coupled_or_not(weight_decay: Scalar, decoupled: bool) -> tuple[Scalar, Scalar]:
    """Return how much decay is coupled, and how much is decoupled."""
    return (0.0, weight_decay) if decoupled else (weight_decay, 0.0)


def is_0(x: Scalar) -> bool:
    """Return whether a number is 0; the value of an array is not known yet."""
    return isinstance(x, float) and x == 0.0
