"""Transformations as optax's kind that takes extra arguments."""

from __future__ import annotations

from typing import Any

import optax

from uniopt.integrations.given import transformation_of


def wrap(tx: Any) -> optax.GradientTransformationExtraArgs:
    """Return a transformation that gets its extra arguments inside optax's chains and wrappers, too.

    Without extra arguments nothing needs to be wrapped: optax takes any pair of functions. But it hands keywords such
    as ``value`` only to what says that it takes some, which a pair cannot.

    Parameters
    ----------
    tx
        A transformation of uniopt, or any other pair of functions ``(init, update)``.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        The same two functions.

    Raises
    ------
    HyperparameterError
        If `tx` is no transformation.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import uniopt
    >>> from uniopt.integrations.optax import wrap
    >>> tx = optax.chain(optax.clip(1.0), wrap(uniopt.polyak_sgd()))
    >>> params = jnp.asarray([3.0, 4.0])
    >>> updates, _ = tx.update(params, tx.init(params), params, value=1.0)
    >>> updates
    Array([-0.5, -0.5], dtype=float32)
    """
    init, update = transformation_of(tx)
    return optax.GradientTransformationExtraArgs(init, update)
