"""Which mini-steps `MultiSteps` leaves out."""

from __future__ import annotations

from typing import Protocol

from uniopt.backends import registry
from uniopt.finite import not_finite
from uniopt.norms import meeting, sum_of_squares
from uniopt.step import Step
from uniopt.typing import Array, Scalar, Tree


class ShouldSkipUpdateFunction(Protocol):
    """What `MultiSteps` asks whether a mini-step is to be left out."""

    def __call__(self, updates: Tree, gradient_step: Array, params: Tree) -> tuple[Array | bool, Tree]:
        """Return whether to leave the mini-step out, and a tree that `MultiSteps` keeps as ``skip_state``.

        Parameters
        ----------
        updates
            The gradients; 16-bit leaves arrive as float32.
        gradient_step
            How many updates have been made, a 0-d int32 array.
        params
            The parameters; None where ``update`` was called without them.
        """
        ...


def skip_not_finite(updates: Tree, gradient_step: Array, params: Tree) -> tuple[Array, dict[str, Array]]:
    """Leave out gradients that have an infinite or a NaN element.

    Parameters
    ----------
    updates, gradient_step, params
        As of `ShouldSkipUpdateFunction`.

    Returns
    -------
    tuple
        Whether to leave them out, and a dict of that, ``"should_skip"``, and of the number of such elements,
        ``"num_not_finite"``.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> skip, seen = uniopt.skip_not_finite({"w": np.asarray([1.0, np.nan])}, np.asarray(0, np.int32), None)
    >>> bool(skip), int(seen["num_not_finite"])
    (True, 1)
    """
    step, leaves, _ = Step.of_update(updates, None)
    count = not_finite(step, leaves, gradient_step)
    should_skip = count > 0
    return should_skip, {"should_skip": should_skip, "num_not_finite": count}


def skip_large_updates(
    updates: Tree, gradient_step: Array, params: Tree, max_squared_norm: Scalar
) -> tuple[Array, dict[str, Array]]:
    """Leave out gradients whose squared norm is not below a bound; NaN is not below it either.

    Parameters
    ----------
    updates, gradient_step, params
        As of `ShouldSkipUpdateFunction`.
    max_squared_norm
        The bound of the sum of the squares of all elements. Give it with `functools.partial`.

    Returns
    -------
    tuple
        Whether to leave them out, and a dict of that, ``"should_skip"``, and of ``"norm_squared"``.

    Examples
    --------
    >>> from functools import partial
    >>> import uniopt
    >>> skip = partial(uniopt.skip_large_updates, max_squared_norm=100.0)
    >>> tx = uniopt.MultiSteps(uniopt.sgd(0.1), every_k_schedule=4, should_skip_update_fn=skip)
    """
    step, leaves, _ = Step.of_update(updates, None)
    where = meeting(step.places)
    if where is None:
        backend = registry.backend_of(gradient_step)
        squared = backend.astype(gradient_step * 0, backend.xp.float32)
    else:
        squared = step.backend.place(sum_of_squares(step, leaves, where), gradient_step)
    should_skip = ~(squared < max_squared_norm)
    return should_skip, {"should_skip": should_skip, "norm_squared": squared}
