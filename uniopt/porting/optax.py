"""The state of optax's transformations, read and written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

import uniopt
from uniopt import tree
from uniopt.errors import PortingError
from uniopt.porting import host
from uniopt.porting.closures import RULES, transformation_of
from uniopt.porting.description import Description, describe, state_for
from uniopt.porting.restate import restated
from uniopt.transformation import GradientTransformation
from uniopt.typing import Tree

Calls: TypeAlias = list[tuple[str, dict[str, Any]]]
"""Functions that uniopt and optax both have, with their arguments: the parts of a chain."""


def from_optax(optimizer: Any, state: Any, params: Tree, to: str = "jax") -> tuple[GradientTransformation, Any]:
    """Return the transformation that does what one of optax does, and the state to which that has come.

    Parameters
    ----------
    optimizer
        A transformation of optax. Its hyperparameters are read from the functions that it consists of. It may also be
        one of uniopt, made by the same calls.
    state
        Its state.
    params
        The parameters that the state is for; their values do not matter.
    to
        The name of the library on whose arrays the state is to be.

    Returns
    -------
    tuple
        The transformation, made by uniopt's functions of the same names (`uniopt.dialects.optax`), and its state.

    Raises
    ------
    PortingError
        If the transformation has a part that cannot be read, or the state is not one of it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import uniopt
    >>> optimizer = optax.adam(0.1)
    >>> params = {"w": jnp.ones(2)}
    >>> updates, state = optimizer.update(params, optimizer.init(params))
    >>> tx, state = uniopt.porting.from_optax(optimizer, state, params, to="numpy")
    >>> state[0].mu
    {'w': array([0.1, 0.1], dtype=float32)}
    """
    tx = transformation_of(optimizer)
    template = tx.init(host.to_numpy(params))
    return tx, host.to_library(restated(template, state, "state", _in_numpy), to)


def to_optax(tx: GradientTransformation, state: Any, params: Tree, optimizer: Any = None) -> tuple[Any, Any]:
    """Return optax's transformation that does what one of uniopt does, and the state to which that has come.

    Parameters
    ----------
    tx, state
        The transformation, of uniopt or of one of its dialects, and its state, on arrays of any library.
    params
        The parameters, as JAX arrays: the state is put where they are.
    optimizer
        A transformation of optax that does the same, such as ``optax.adamw(1e-3)``, whose state is wanted. By default
        it is put together of optax's ``scale_by_...`` functions.

    Returns
    -------
    tuple
        The transformation of optax, and its state.

    Raises
    ------
    PortingError
        If optax has nothing that does the same, or `optimizer` does something else. The message names the parameter
        and the reason.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import uniopt
    >>> params = {"w": jnp.ones(2)}
    >>> tx = uniopt.dialects.torch.Adam(lr=0.1)
    >>> updates, state = tx.update(params, tx.init(params))
    >>> optimizer, state = uniopt.porting.to_optax(tx, state, params, optax.adam(0.1))
    >>> state[0].count
    Array(1, dtype=int32)
    """
    values = host.to_numpy(params)
    descriptions = describe(tx, host.to_numpy(state), values)
    if optimizer is None:
        same, optimizer = _put_together(descriptions, values)
    else:
        same = transformation_of(optimizer)
    reached = state_for(same, values, descriptions)
    return optimizer, restated(optimizer.init(params), reached, "state", _in_jax)


def _put_together(descriptions: Sequence[Description], params: Tree) -> tuple[GradientTransformation, Any]:
    """Return the same transformation twice: made with uniopt's functions and with optax's."""
    import optax

    groups: list[Calls] = []
    labels: list[str] = []
    for described, p in zip(descriptions, tree.leaves(params), strict=True):
        calls = _calls(described, np.ndim(p))
        if calls not in groups:
            groups.append(calls)
        labels.append(f"group {groups.index(calls)}")
    ours = [uniopt.chain(*(_uniopt_part(name, arguments) for name, arguments in calls)) for calls in groups]
    theirs = [optax.chain(*(_optax_function(name)(**arguments) for name, arguments in calls)) for calls in groups]
    if len(groups) == 1:
        return ours[0], theirs[0]
    names = [f"group {k}" for k in range(len(groups))]
    remaining = iter(labels)
    of_leaves = tree.map(lambda _: next(remaining), params)
    return (
        uniopt.partition(dict(zip(names, ours, strict=True)), of_leaves),
        optax.partition(dict(zip(names, theirs, strict=True)), of_leaves),
    )


def _calls(described: Description, ndim: int) -> Calls:
    """Return the calls that make a chain which does what is described of a leaf with some number of axes."""
    switches = {**described.switches, **described.first_values}
    calls: Calls = [("scale", {"step_size": -1.0})] if switches["maximize"] else []
    calls += _decay(switches["coupled_decay"])
    for rule in switches["rules"]:
        own = {name.removeprefix(f"{rule}."): x for name, x in switches.items() if name.startswith(f"{rule}.")}
        if "axes" in own:
            own |= {"factored": own.pop("axes") is not None or ndim < 2, "min_dim_size_to_factor": 0}
        factor = own.pop("rate_factor", 1.0)
        calls.append((rule, _accepted(rule, own, described.path)))
        calls += [] if factor == 1.0 else [("scale", {"step_size": factor})]
    calls += _decay(switches["decoupled_decay"])
    if switches["rate_factor"] != 1.0:
        calls.append(("scale", {"step_size": switches["rate_factor"]}))
    rate = switches["learning_rate"]
    if callable(rate) or rate >= 0.0:
        return [*calls, ("scale_by_learning_rate", {"learning_rate": rate})]
    return calls if rate == -1.0 else [*calls, ("scale", {"step_size": -rate})]


def _decay(rate: Any) -> Calls:
    return [("add_decayed_weights", {"weight_decay": rate})] if callable(rate) or rate != 0.0 else []


def _accepted(rule: str, switches: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the switches of a rule that optax has; PortingError if one of the others is set."""
    parameters = inspect.signature(_optax_function(rule, path)).parameters
    ours = inspect.signature(getattr(uniopt, rule)).parameters
    defaults = {name: p.default for name, p in ours.items()} | RULES.get(rule, {})
    for name, value in switches.items():
        if name not in parameters and value != defaults.get(name, value):
            raise PortingError(
                f"{path} is optimized by {rule} with {name}={value!r}, which optax does not have; it does what "
                f"{name}={defaults[name]!r} does."
            )
    # Where None stands for optax's own function, that is its default.
    own = [
        name for name, x in switches.items() if x is None and name in parameters and callable(parameters[name].default)
    ]
    return {name: value for name, value in switches.items() if name in parameters and name not in own}


def _uniopt_part(name: str, arguments: dict[str, Any]) -> GradientTransformation:
    part: GradientTransformation = getattr(uniopt, name)(**arguments, **RULES.get(name, {}))
    return part


def _optax_function(rule: str, path: str = "") -> Callable[..., Any]:
    import optax

    found = getattr(optax, rule, getattr(optax.contrib, rule, None))
    if found is None or not (rule in RULES or rule in ("scale_by_schedule", "scale_by_learning_rate")):
        raise PortingError(f"{path} is optimized by {rule}, which optax does not have.")
    return found  # type: ignore[no-any-return]


def _in_numpy(value: Any, like: Any, path: str) -> Any:
    """Return an array as one of NumPy in the dtype of another one."""
    return _cast(host.array(value), np.asarray(like).dtype, path)


def _in_jax(value: Any, like: Any, path: str) -> Any:
    """Return an array of NumPy as one of JAX, in the dtype of another one and where that is."""
    import jax

    held = host.array(like)  # bfloat16 as float32
    cast = _cast(np.asarray(value), held.dtype, path)
    result = jax.device_put(jax.numpy.asarray(cast, dtype=like.dtype), like.sharding)
    if not np.array_equal(host.array(result), cast, equal_nan=cast.dtype.kind in "fc"):
        raise PortingError(f"{path} is {cast.dtype}, and loses digits as {like.dtype}, in which optax keeps it.")
    return result


def _cast(value: Any, dtype: Any, path: str) -> Any:
    result = value.astype(dtype)
    if not np.array_equal(result.astype(value.dtype), value, equal_nan=value.dtype.kind in "fc"):
        raise PortingError(f"{path} is {value.dtype}, and loses digits as {dtype}.")
    return result
