"""Weight decay as a term that is added to the update."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters, tree
from uniopt.leafwise import leafwise
from uniopt.transformation import GradientTransformation
from uniopt.transforms.mask import masked
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule, Tree


class WeightDecaySchedule(NamedTuple):
    """The state of a weight decay that follows a schedule."""

    count: Array  # int32, shape ()


def add_decayed_weights(weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None) -> GradientTransformation:
    r"""Add a multiple of the parameters: :math:`u = g + \lambda p`.

    Parameters
    ----------
    weight_decay
        :math:`\lambda`: a number, a 0-d array, or a schedule of the step count.
    mask
        Which parameters decay: a tree of bools like the parameters, a prefix of one, or a function from the
        parameters to one. By default all do.

    Notes
    -----
    Adding the term rounds without a bias; multiplying the parameters by ``1 - lr * weight_decay`` does not.
    """
    rate = hyperparameters.learning_rate(weight_decay, "weight_decay")
    state = WeightDecaySchedule if callable(rate) else EmptyState
    tx = leafwise(state, None, _add_decayed_weights, weight_decay=rate)
    return tx if mask is None else masked(tx, mask)


def weight_decay_mask(params: Tree) -> Tree:
    """Return which parameters usually decay: those with two or more axes.

    The others, biases and the scales of normalizations, are vectors and scalars, and are better left alone. It is the
    mask of the optimizers that decay weights.

    Parameters
    ----------
    params
        The parameters.

    Returns
    -------
    Tree
        A bool for each of them.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> uniopt.weight_decay_mask({"w": np.ones((3, 2)), "b": np.ones(2), "temperature": 1.0})
    {'w': True, 'b': False, 'temperature': False}
    >>> tx = uniopt.adamw(1e-3, weight_decay=0.1, mask=uniopt.weight_decay_mask)
    """
    return tree.map(lambda p: len(getattr(p, "shape", ())) > 1, params)


def _add_decayed_weights(xp: Any, g: Array, s: Any, *, p: Array, weight_decay: Scalar) -> Any:
    if isinstance(weight_decay, float) and weight_decay == 0.0:
        return g, s
    return g + weight_decay * p, s
