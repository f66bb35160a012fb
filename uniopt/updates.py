"""Adding updates to parameters."""

from __future__ import annotations

from uniopt.step import Step
from uniopt.typing import Tree


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """Return the parameters with the updates added: ``p + u``.

    Parameters
    ----------
    params
        A tree of arrays.
    updates
        A tree of the same structure and shapes; where it has ``None``, the parameters stay as they are.

    Returns
    -------
    Tree
        New parameters of the same types and dtypes. The sum of 16-bit leaves is rounded once, from float32.

    Raises
    ------
    UnioptError
        If the trees differ in structure, shape, kind of number, library or device; the message names the leaf.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> uniopt.apply_updates({"w": np.asarray([1.0, 2.0])}, {"w": np.asarray([0.5, -0.5])})
    {'w': array([1.5, 1.5])}
    """
    step, changes, values = Step.of_update(updates, params)
    if values is None:  # an empty tree
        return params
    sums = [None if u is None else p + u for p, u in zip(values, changes, strict=True)]
    return step.replace(params, sums)
