"""optax: the same names and formulas, so that every optimizer which it has too is compared with it, in float64."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
from uniopt.conformance.cases import Case, Written
from uniopt.conformance.error_unit import Trajectory

from uniopt import tree

_DIFFERENT = {
    "noisy_sgd": "optax draws its noise from JAX's own generator",
}


def covers(case: Case) -> bool:
    """Return whether optax has the optimizer with the same formula."""
    known = hasattr(optax, case.optimizer) and case.optimizer not in _DIFFERENT
    return known and not case.problem.skips  # it cannot skip a leaf


def trajectory(case: Case) -> Trajectory:
    """Return the path of optax's optimizer in float64."""
    with jax.enable_x64(True):
        tx = getattr(optax, case.optimizer)(**{name: _value(x) for name, x in case.hyper.items()})
        params = jax.tree.map(jax.numpy.asarray, case.problem.params)
        path, state = [params], tx.init(params)
        for gradient in case.problem.gradients:
            updates, state = tx.update(jax.tree.map(jax.numpy.asarray, gradient), state, params)
            params = optax.apply_updates(params, updates)
            path.append(params)
        return [[None if x is None else np.array(x) for x in tree.flatten(p)[0]] for p in path]


def _value(x: Any) -> Any:
    if not isinstance(x, Written):
        return x
    return x.plain if callable(x.plain) else x.for_uniopt  # optax's masks are trees too
