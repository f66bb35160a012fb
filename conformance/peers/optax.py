"""optax: the same names and formulas, so that whatever it has too is compared with it, in float64."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
from uniopt.conformance.cases import SUBJECTS, Case
from uniopt.conformance.dialects import DIALECTS
from uniopt.conformance.error_unit import Trajectory
from uniopt.conformance.problems import Values
from uniopt.conformance.programs import takes_value
from uniopt.conformance.settings import Written

from uniopt import tree
from uniopt.typing import Tree

# Why optax's function of the same name is none to compare with, or not in one setting or on one problem.
_DIFFERENT = {
    "MultiSteps": "optax accumulates gradients of float64 in float32",
    "adadelta/default/complex": "optax squares its updates, and not their size",
    "adafactor": "optax computes its decay rate in float32, even for float64",
    "add_noise": "optax draws its noise from JAX's own generator",
    "lookahead": "optax's pairs of parameters are of another class",
    "normalize/default/sparse": "optax makes NaN of a gradient of zeros",
    "mechanize/default/complex": "optax multiplies without conjugating",
    "noisy_sgd": "optax draws its noise from JAX's own generator",
    "optax.optimistic_gradient_descent/from_zero": "optax did so in earlier versions",
    "rprop": "optax applies each step one step late",
    "sm3": "optax's takes no 0-d leaf, which every problem has",
    "trace/dampened": "optax dampens nothing",
    **dict.fromkeys(
        (
            "cosine_onecycle_schedule",
            "exponential_decay",
            "piecewise_interpolate_schedule",
            "polynomial_schedule",
            "warmup_exponential_decay_schedule",
        ),
        "optax divides the count in float32, even for float64",
    ),
}


def covers(case: Case) -> bool:
    """Return whether optax has the optimizer with the same formula."""
    if _constructor(case.optimizer) is None or case.problem.skips:  # it cannot skip
        return False
    if not _DIFFERENT.keys().isdisjoint((case.optimizer, f"{case.optimizer}/{case.setting}", case.name)):
        return False
    if case.optimizer == "polyak_sgd":
        return "scaling" not in case.hyper  # it acts inverted in optax
    if case.optimizer == "radam":
        # The length of the average, by optax's formula a difference of numbers near 2000, is off by 1.4e-11 of itself
        # at b2=0.999, and the parameters by 1.1e-11 of how far they have moved.
        return bool(case.hyper.get("b2", 0.999) < 0.999)
    # optax's Muon divides by the length of an empty matrix.
    return case.optimizer != "muon" or all(x.size > 0 for x in tree.leaves(case.problem.params))


def trajectory(case: Case) -> Trajectory:
    """Return the path of optax's optimizer in float64."""
    with jax.enable_x64(True):
        constructor = _constructor(case.optimizer)
        assert constructor is not None  # else it covers nothing
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # optimistic_adam, in favour of optimistic_adam_v2
            tx = optax.with_extra_args_support(constructor(**{name: _value(x) for name, x in case.hyper.items()}))
        params = jax.tree.map(jax.numpy.asarray, case.problem.params)
        path, state = [params], tx.init(params)
        for step in range(case.problem.steps):
            value, gradient = case.problem.at(step, _read(params))
            extra = {"value": value} if takes_value(tx.update) else {}
            updates, state = tx.update(jax.tree.map(jax.numpy.asarray, gradient), state, params, **extra)
            params = optax.apply_updates(params, updates)
            path.append(params)
        return [_read(p) for p in path]


def _read(params: Tree) -> list[Values | None]:
    return [None if x is None else np.array(x) for x in tree.flatten(params)[0]]


class _Optax:
    """optax and what it has in optax.contrib, as one library."""

    def __getattr__(self, name: str) -> Any:
        return getattr(optax, name) if hasattr(optax, name) else getattr(optax.contrib, name)


def _constructor(name: str) -> Any:
    """Return what makes an optimizer of hyperparameters, or None where optax does not have the name."""
    if name in DIALECTS:
        return getattr(_Optax(), name.removeprefix("optax."), None)
    found = getattr(_Optax(), name, None)
    return partial(SUBJECTS[name].make, _Optax()) if found is not None and name in SUBJECTS else found


def _value(x: Any) -> Any:
    if not isinstance(x, Written):
        return x
    return x.plain if callable(x.plain) else x.for_uniopt  # optax's masks are trees too
