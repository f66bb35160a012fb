"""Gradient descent, its momentum and its signs as keras computes them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from uniopt import hyperparameters, tree
from uniopt.chain import chain
from uniopt.dialects.keras.base import Decay, optimizer
from uniopt.errors import HyperparameterError
from uniopt.optimizers.adam import scale_by_adam
from uniopt.optimizers.ftrl import ftrl
from uniopt.optimizers.lion import scale_by_lion
from uniopt.optimizers.muon import scale_by_muon, scale_by_shape
from uniopt.transformation import Bound, GradientTransformation
from uniopt.transforms.partition import partition
from uniopt.transforms.scale import identity, scale, scale_by_learning_rate
from uniopt.transforms.trace import trace
from uniopt.typing import Scalar, ScalarOrSchedule, Tree


@optimizer
def SGD(
    learning_rate: ScalarOrSchedule = 0.01, momentum: Scalar = 0.0, nesterov: bool = False
) -> GradientTransformation:
    """The learning rate is inside the momentum.

    Parameters
    ----------
    learning_rate, momentum, nesterov
        As in ``keras.optimizers.SGD``; the others as in `uniopt.dialects.keras`.
    """
    if isinstance(momentum, int | float) and momentum == 0:
        return scale_by_learning_rate(learning_rate)
    decay = hyperparameters.fraction("momentum", momentum)
    return chain(scale_by_learning_rate(learning_rate), trace(decay, nesterov))


@optimizer
def Lion(
    learning_rate: ScalarOrSchedule = 0.001, beta_1: Scalar = 0.9, beta_2: Scalar = 0.99
) -> GradientTransformation:
    """`uniopt.lion`, without decay by default.

    Parameters
    ----------
    learning_rate, beta_1, beta_2
        As in ``keras.optimizers.Lion``; the others as in `uniopt.dialects.keras`.
    """
    return chain(scale_by_lion(beta_1, beta_2), scale_by_learning_rate(learning_rate))


@optimizer
def Ftrl(
    learning_rate: ScalarOrSchedule = 0.001,
    learning_rate_power: Scalar = -0.5,
    initial_accumulator_value: Scalar = 0.1,
    l1_regularization_strength: Scalar = 0.0,
    l2_regularization_strength: Scalar = 0.0,
    l2_shrinkage_regularization_strength: Scalar = 0.0,
    beta: Scalar = 0.0,
) -> GradientTransformation:
    """`uniopt.ftrl`.

    Parameters
    ----------
    learning_rate, learning_rate_power, initial_accumulator_value, l1_regularization_strength
        As in ``keras.optimizers.Ftrl``.
    l2_regularization_strength, l2_shrinkage_regularization_strength, beta
        As in ``keras.optimizers.Ftrl``; the others as in `uniopt.dialects.keras`.
    """
    return ftrl(
        learning_rate,
        learning_rate_power,
        initial_accumulator_value,
        l1_regularization_strength,
        l2_regularization_strength,
        l2_shrinkage_regularization_strength,
        beta,
    )


@optimizer
def Muon(
    learning_rate: ScalarOrSchedule = 0.001,
    adam_beta_1: Scalar = 0.9,
    adam_beta_2: Scalar = 0.999,
    adam_weight_decay: Scalar | None = 0.004,
    epsilon: Scalar = 1e-7,
    weight_decay: Scalar | None = 0.004,
    *,
    exclude_layers: Sequence[str] | None = None,
    exclude_embeddings: bool = True,
    muon_a: float = 3.4445,
    muon_b: float = -4.7750,
    muon_c: float = 2.0315,
    adam_lr_ratio: Scalar = 1,
    momentum: Scalar = 0.95,
    ns_steps: int = 5,
    nesterov: bool = True,
    rms_rate: Scalar | None = 0.2,
    decayed: Decay,
) -> GradientTransformation:
    """Momentum as a decaying sum; AdamW for all but matrices, and for those of embeddings and excluded layers.

    `exclude_layers` are regular expressions, looked for in a parameter's path, such as ``dense/kernel``.

    Parameters
    ----------
    learning_rate, adam_beta_1, adam_beta_2, adam_weight_decay, epsilon, weight_decay, exclude_layers
        As in ``keras.optimizers.Muon``.
    exclude_embeddings, muon_a, muon_b, muon_c, adam_lr_ratio, momentum, ns_steps, nesterov, rms_rate
        As in ``keras.optimizers.Muon``; the others as in `uniopt.dialects.keras`.
    """
    matrices = chain(
        scale_by_muon(
            (muon_a, muon_b, muon_c),
            ns_steps,
            hyperparameters.decay_rate("momentum", momentum),
            1e-7,
            nesterov=nesterov,
            bias_correction=False,
            average_gradients=False,
        ),
        identity() if rms_rate is None else scale_by_shape(consistent_rms=rms_rate),
        scale_by_learning_rate(learning_rate),
    )
    others = chain(
        scale_by_adam(adam_beta_1, adam_beta_2, epsilon, eps_before_correction=True),
        scale(hyperparameters.number("adam_lr_ratio", adam_lr_ratio)),
        scale_by_learning_rate(learning_rate),
    )
    return partition(
        {"muon": decayed(matrices, weight_decay), "adam": decayed(others, adam_weight_decay)},
        Bound(layer_labels, exclude_layers=_patterns(exclude_layers), exclude_embeddings=exclude_embeddings),
    )


def _patterns(exclude_layers: Sequence[str] | None) -> tuple[str, ...]:
    patterns = tuple(exclude_layers or ())
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise HyperparameterError(
                f"exclude_layers has {pattern!r}, expected a regular expression: {error}."
            ) from None
    return patterns


def layer_labels(params: Tree, *, exclude_layers: tuple[str, ...], exclude_embeddings: bool) -> Tree:
    leaves, structure = tree.flatten(params)

    def label(path: str, p: object) -> str:
        embedding = exclude_embeddings and "embedding" in path.lower()
        if getattr(p, "ndim", 0) != 2 or embedding or any(re.search(x, path) for x in exclude_layers):
            return "adam"
        return "muon"

    paths = [path.replace(".", "/") for path in tree.dotted_paths(structure)]
    return tree.unflatten(structure, [label(path, p) for path, p in zip(paths, leaves, strict=True)])
