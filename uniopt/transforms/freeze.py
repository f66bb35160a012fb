"""Holding some of the parameters still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from uniopt import hyperparameters, tree
from uniopt.transformation import GradientTransformation
from uniopt.transforms.mask import masked
from uniopt.transforms.partition import partition
from uniopt.transforms.scale import set_to_zero
from uniopt.typing import Mask, Tree


def freeze(mask: Mask) -> GradientTransformation:
    """Make the updates zero where the mask is true; the others pass through unchanged.

    Parameters
    ----------
    mask
        Which parameters to hold still: a tree of bools like the parameters, a prefix of one, or a function from the
        parameters to one.

    Raises
    ------
    HyperparameterError
        If a leaf of the mask is no bool.
    TreeStructureError
        At init or update, if the mask is no prefix of the parameters.

    Notes
    -----
    What stands before it in a chain still keeps a state for the frozen parameters; `selective_transform` saves that.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(0.5), uniopt.freeze({"w": False, "b": True}))
    >>> grads = {"w": np.ones(2), "b": np.ones(1)}
    >>> tx.update(grads, tx.init(grads))[0]
    {'w': array([-0.5, -0.5]), 'b': array([0.])}
    """
    return masked(set_to_zero(), mask)


def selective_transform(optimizer: GradientTransformation, *, freeze_mask: Mask) -> GradientTransformation:
    """Optimize only the parameters that are not frozen; the others get updates of zero, and no state.

    Parameters
    ----------
    optimizer
        The transformation of the parameters that are trained.
    freeze_mask
        Which parameters to hold still: a tree of bools like the parameters, a prefix of one, or a function from the
        parameters to one.

    Raises
    ------
    HyperparameterError
        If a leaf of the mask is no bool.
    TreeStructureError
        At init or update, if the mask is no prefix of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.selective_transform(uniopt.adam(0.5), freeze_mask={"w": False, "b": True})
    >>> grads = {"w": np.ones(2), "b": np.ones(1)}
    >>> updates, state = tx.update(grads, tx.init(grads))
    >>> updates["b"]
    array([0.])
    >>> state.inner_states["train"].inner_state[0].mu
    {'w': array([0.1, 0.1]), 'b': MaskedNode()}
    """
    mask = hyperparameters.mask("freeze_mask", freeze_mask)
    labels = TrainOrFreeze(mask) if tree.is_function(mask) else _labels(mask)
    return partition({"train": optimizer, "freeze": set_to_zero()}, labels)


@dataclass(frozen=True)
class TrainOrFreeze:
    """A function from the parameters to the labels that a mask, which is a function as well, stands for."""

    mask: Callable[[Tree], Tree]

    def __call__(self, params: Tree) -> Tree:
        """Return the labels."""
        return _labels(hyperparameters.mask("freeze_mask", self.mask(params)))


def _labels(mask: Tree) -> Tree:
    return tree.map(lambda frozen: "freeze" if frozen else "train", mask)
