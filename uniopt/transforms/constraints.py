"""Updates that keep to what parameters must be: nonnegative, or numbers at all."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt.leafwise import leafwise
from uniopt.numerics import require_order
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Tree

NonNegativeParamsState = EmptyState
"""The state of `keep_params_nonnegative`, which remembers nothing."""


class ZeroNansState(NamedTuple):
    """Where the last gradients had NaN."""

    found_nan: Tree  # one bool a leaf, shape ()


def keep_params_nonnegative() -> GradientTransformation:
    r"""Shorten the updates that would make a parameter negative, so that it becomes 0.

    .. math::

        u = -p \text{ where } p + g < 0, \qquad u = g \text{ elsewhere}

    It belongs at the end of a chain. Parameters that are negative already become 0.

    Raises
    ------
    DtypeKindError
        At update, for a complex leaf: complex numbers have no order.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(1.0), uniopt.keep_params_nonnegative())
    >>> params = np.asarray([1.0, 2.0])
    >>> updates, state = tx.update(np.asarray([0.5, 3.0]), tx.init(params), params)
    >>> uniopt.apply_updates(params, updates)
    array([0.5, 0. ])
    """
    return leafwise(NonNegativeParamsState, None, _keep_params_nonnegative)


def zero_nans() -> GradientTransformation:
    """Replace NaN by 0, and note in the state which leaves had one.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.zero_nans()
    >>> grads = {"w": np.asarray([1.0, np.nan]), "b": np.asarray([2.0])}
    >>> updates, state = tx.update(grads, tx.init(grads))
    >>> updates
    {'w': array([1., 0.]), 'b': array([2.])}
    >>> state
    ZeroNansState(found_nan={'w': array(True), 'b': array(False)})
    """
    return leafwise(ZeroNansState, _init, _zero_nans)


def _keep_params_nonnegative(xp: Any, g: Array, s: EmptyState, *, p: Array) -> tuple[Array, EmptyState]:
    require_order(g, "keep_params_nonnegative")
    return xp.where(p + g < 0, -p, g), s


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"found_nan": xp.zeros_like(xp.any(xp.isnan(p)))}


def _zero_nans(xp: Any, g: Array, s: ZeroNansState) -> tuple[Array, ZeroNansState]:
    nan = xp.isnan(g)
    return xp.where(nan, xp.zeros_like(g), g), s._replace(found_nan=xp.any(nan))
