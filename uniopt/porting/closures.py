"""Reading optax's transformations and schedules, which are functions that have closed over their hyperparameters.

The name of the function that made one is in its ``__qualname__``, its hyperparameters are what it has closed over. The
functions of the same names here take them under the same names.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from typing import Any

import uniopt
from uniopt import schedules, tree
from uniopt.errors import HyperparameterError, PortingError, UnioptError
from uniopt.foreign import Foreign
from uniopt.optimizers.newton_schulz import MuonDimensionNumbers
from uniopt.transformation import Bound, GradientTransformation, stage_of
from uniopt.typing import Schedule, Tree

_SAME_AT = (0, 1, 2, 3, 7, 10, 31, 100, 317, 1000, 3162, 10000, 100000)


def transformation_of(tx: Any) -> GradientTransformation:
    """Return uniopt's transformation that does what one of optax does; one of uniopt as it is.

    Raises
    ------
    PortingError
        If it was not made by a function of optax that uniopt has too.
    """
    if not isinstance(stage_of(tx), Foreign):
        return GradientTransformation(*tx)
    return _read(tx.init, tx.update)


def schedule_of(schedule: Any) -> Schedule:
    """Return uniopt's schedule with the values of one of optax; any other function as it is."""
    maker, values = _made_by(schedule)
    make = getattr(schedules, maker, None)
    if make is None or not schedule.__module__.startswith("optax."):
        return schedule  # type: ignore[no-any-return]  # a function of the user's
    if "schedules" in values:
        values["schedules"] = [schedule_of(part) for part in values["schedules"]]
    try:
        found = make(**_accepted(make, values))
    except (TypeError, UnioptError):
        return schedule  # type: ignore[no-any-return]
    same = all(math.isclose(float(schedule(n)), float(found(n)), rel_tol=1e-5, abs_tol=1e-9) for n in _SAME_AT)
    return found if same else schedule  # type: ignore[no-any-return]


def _read(init: Callable[..., Any], update: Callable[..., Any]) -> GradientTransformation:
    maker, values = _made_by(update)
    values = {**_made_by(init)[1], **values}
    home = getattr(update, "__module__", None) or ""
    if not home.startswith("optax.") or maker not in {*_CONTAINERS, *RULES}:
        raise PortingError(
            f"The transformation has {getattr(update, '__qualname__', update)} of {home}, which is no optimizer of "
            "optax that uniopt knows. Make the transformation with uniopt's functions of the same names, and pass that."
        )
    if maker in _CONTAINERS:
        return _CONTAINERS[maker](values)
    make = getattr(uniopt, maker)
    theirs = inspect.signature(getattr(sys.modules[home], maker)).parameters
    if unread := [name for name in theirs if name not in values and name != "mask"]:  # which is a `masked` around it
        raise PortingError(
            f"{', '.join(unread)} of optax's {maker} cannot be read from what it has made. Make the "
            "transformation with uniopt's functions of the same names, and pass that."
        )
    ours = inspect.signature(make).parameters
    given = {name: values[name] for name in theirs if name in values}
    if unknown := [name for name, x in given.items() if name not in ours and x != theirs[name].default]:
        raise PortingError(f"{', '.join(unknown)} of optax's {maker} is set, which uniopt does not have.")
    # A function that optax has by default is what uniopt does by default.
    left = [name for name, x in given.items() if callable(x) and x is theirs[name].default]
    arguments = {name: _argument(name, x) for name, x in given.items() if name in ours and name not in left}
    try:
        return make(**arguments, **RULES[maker])  # type: ignore[no-any-return]
    except HyperparameterError as error:
        raise PortingError(f"optax takes more in {maker} than uniopt: {error}") from None


def _argument(name: str, value: Any) -> Any:
    """Return an argument as uniopt takes it."""
    if name == "weight_dimension_numbers":
        return Bound(_dimension_numbers, numbers=value) if callable(value) else _dimension_numbers(None, numbers=value)
    return schedule_of(value) if callable(value) else value


def _dimension_numbers(params: Tree, *, numbers: Any) -> Tree:
    """Return a tree of `MuonDimensionNumbers` for one of optax's of the same name."""
    found = numbers(params) if callable(numbers) else numbers
    leaves, structure = tree.flatten(found, lambda x: hasattr(x, "reduction_axis"))
    return tree.unflatten(structure, [x and MuonDimensionNumbers(*x) for x in leaves])


def _made_by(function: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of the function that made another, and what that has closed over."""
    maker = getattr(function, "__qualname__", "").partition(".<locals>")[0]
    values: dict[str, Any] = {}
    waiting = [function]
    while waiting:
        if inspect.isfunction(part := waiting.pop()):
            closed_over = inspect.getclosurevars(part).nonlocals
            # Its own parts may be functions that were made with it, and have closed over more.
            waiting += [x for name, x in closed_over.items() if name not in values and _is_made_by(maker, x)]
            values |= closed_over
    return maker, values


def _is_made_by(maker: str, value: Any) -> bool:
    return getattr(value, "__qualname__", "").startswith(f"{maker}.<locals>.")


def _accepted(make: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in inspect.signature(make).parameters if name in values}


def _chain(values: dict[str, Any]) -> GradientTransformation:
    pairs = zip(values["init_fns"], values["update_fns"], strict=True)
    return uniopt.chain(*(_read(init, update) for init, update in pairs))


def _partition(values: dict[str, Any]) -> GradientTransformation:
    transforms = {label: transformation_of(tx) for label, tx in values["transforms"].items()}
    return uniopt.partition(transforms, values["param_labels"])


def _scheduled(values: dict[str, Any]) -> GradientTransformation:
    maker, of_rate = _made_by(values["step_size_fn"])
    if maker != "scale_by_learning_rate":
        return uniopt.scale_by_schedule(schedule_of(values["step_size_fn"]))
    return uniopt.scale_by_learning_rate(schedule_of(of_rate["learning_rate"]), flip_sign=of_rate["m"] == -1)


_CONTAINERS: dict[str, Callable[[dict[str, Any]], GradientTransformation]] = {
    "chain": _chain,
    "masked": lambda values: uniopt.masked(transformation_of(values["inner"]), values["mask"]),
    "partition": _partition,
    "scale_by_schedule": _scheduled,
    "with_extra_args_support": lambda values: transformation_of(values["tx"]),
}
"""The functions of optax that others go into."""

_OF_THE_SAME_NAME = """
    adaptive_grad_clip add_decayed_weights centralize clip clip_by_block_rms clip_by_global_norm ema identity
    keep_params_nonnegative normalize_by_update_norm scale scale_by_adadelta scale_by_adam scale_by_adamax scale_by_adan
    scale_by_amsgrad scale_by_belief scale_by_factored_rms scale_by_lion scale_by_novograd scale_by_optimistic_gradient
    scale_by_muon scale_by_param_block_norm scale_by_param_block_rms scale_by_polyak scale_by_radam scale_by_rms
    scale_by_rss scale_by_shape scale_by_sign scale_by_sm3 scale_by_stddev scale_by_trust_ratio scale_by_yogi
    set_to_zero trace
"""
RULES: dict[str, dict[str, Any]] = {
    **{name: {} for name in _OF_THE_SAME_NAME.split()},
    "scale_by_rprop": {"one_step_late": True},
}
"""The rules of optax, and the switches that make uniopt's the same."""
