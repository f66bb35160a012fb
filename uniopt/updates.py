"""Adding updates to parameters, and letting other trees follow them."""

from __future__ import annotations

from collections.abc import Callable

from uniopt import hyperparameters
from uniopt.backends import registry
from uniopt.place import Place
from uniopt.step import Step
from uniopt.typing import Array, Scalar, Tree


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


def incremental_update(new_tensors: Tree, old_tensors: Tree, step_size: Scalar) -> Tree:
    r"""Return a running mean moved a step towards new values: :math:`\alpha x + (1 - \alpha)\, a`.

    Parameters
    ----------
    new_tensors
        The new values :math:`x`, such as the parameters after a step; where it has ``None``, the mean stays as it is.
    old_tensors
        The mean :math:`a` so far. A copy of the parameters in float32 is a mean of float32, for 16-bit ones too.
    step_size
        :math:`\alpha`, the weight of the new values: a number or a 0-d array.

    Returns
    -------
    Tree
        The new mean, in the types and dtypes of the old one.

    Raises
    ------
    UnioptError
        If the trees differ in structure, shape, kind of number, library or device; the message names the leaf.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> uniopt.incremental_update({"w": np.asarray([2.0])}, {"w": np.asarray([1.0])}, 0.25)
    {'w': array([1.25])}
    """
    rate = hyperparameters.number("step_size", step_size)

    def moved(place: Place, new: Array, old: Array) -> Array:
        share = place.bring(rate)
        return share * new + (1 - share) * old

    return _combined(moved, new_tensors, old_tensors)


def periodic_update(new_tensors: Tree, old_tensors: Tree, steps: Scalar, update_period: Scalar) -> Tree:
    """Return the new values in every k-th step, and the old ones in between.

    Parameters
    ----------
    new_tensors
        The new values, such as the parameters after a step; where it has ``None``, the old ones stay as they are.
    old_tensors
        The values that are replaced now and then, such as the parameters of a target network.
    steps
        The number of steps taken so far, an integer or a 0-d array of integers.
    update_period
        k, likewise.

    Returns
    -------
    Tree
        The values, in the types and dtypes of the old ones.

    Raises
    ------
    UnioptError
        If the trees differ in structure, shape, kind of number, library or device; the message names the leaf.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> target = {"w": np.asarray([1.0])}
    >>> for steps in range(1, 5):
    ...     target = uniopt.periodic_update({"w": np.asarray([10.0 * steps])}, target, steps, 3)
    >>> target
    {'w': array([30.])}
    """
    due = steps % update_period == 0
    backend = registry.find(type(due))
    if backend is None or backend.name == "numpy":
        due = bool(due)

    def chosen(place: Place, new: Array, old: Array) -> Array:
        if isinstance(due, bool):
            return new if due else old
        return place.backend.xp.where(place.bring(due), new, old)

    return _combined(chosen, new_tensors, old_tensors)


def _combined(f: Callable[[Place, Array, Array], Array], new_tensors: Tree, old_tensors: Tree) -> Tree:
    """Return the old values with what a function makes of each leaf and its new value."""
    step, new, old = Step.of_update(new_tensors, old_tensors, names=("new_tensors", "old_tensors"))
    if old is None:  # an empty tree
        return old_tensors
    results = [
        None if x is None or place is None else f(place, x, y)
        for place, x, y in zip(step.places, new, old, strict=True)
    ]
    return step.replace(old_tensors, results)
