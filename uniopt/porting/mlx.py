"""The state of MLX's optimizers, read and written."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np

from uniopt.backends import registry
from uniopt.dialects import mlx as dialect
from uniopt.errors import PortingError
from uniopt.porting import host, named_slots
from uniopt.porting.agreement import arguments_of, check_rate, check_schedule, count_of
from uniopt.porting.constructors import build, constructor_for
from uniopt.porting.description import Description, describe, fill, state_for
from uniopt.porting.joined import joined
from uniopt.porting.layout import Convert, laid_out
from uniopt.porting.mlx_optimizers import OPTIMIZERS
from uniopt.porting.orientation import check_whole, oriented
from uniopt.transformation import GradientTransformation
from uniopt.typing import Schedule, Tree


def from_mlx(
    optimizer: Any,
    parameters: Tree,
    to: str = "jax",
    convert: Convert | None = None,
    schedule: Schedule | None = None,
) -> tuple[GradientTransformation, Any]:
    """Return the transformation that does what an optimizer of MLX does, and the state to which that has come.

    Parameters
    ----------
    optimizer
        A live optimizer of ``mlx.optimizers``.
    parameters
        The parameters that it has, as ``model.trainable_parameters()`` returns them.
    to
        The name of the library on whose arrays the state is to be.
    convert
        The function that makes the tree of parameters of a dict of arrays by name, such as ``layers.0.weight``: the one
        that converts the weights, with its transposes and reshapes. By default the tree is the dict.
    schedule
        The optimizer's schedule as one of uniopt, needed where it has one.

    Returns
    -------
    tuple
        The transformation, one of `uniopt.dialects.mlx` with the optimizer's hyperparameters, and its state.

    Raises
    ------
    PortingError
        If something cannot be represented; the message names it.

    Examples
    --------
    >>> import mlx.core as mx
    >>> import mlx.optimizers
    >>> import uniopt
    >>> params = {"w": mx.array([1.0, 2.0])}
    >>> optimizer = mlx.optimizers.Adam(learning_rate=0.5)
    >>> params = optimizer.apply_gradients(params, params)
    >>> tx, state = uniopt.porting.from_mlx(optimizer, params, to="numpy")
    >>> state[0].mu
    {'w': array([0.1, 0.2], dtype=float32)}
    """
    name = _class_of(optimizer)
    step = int(optimizer.state["step"])
    hyper = {key: getattr(optimizer, key) for key in _own(name) if hasattr(optimizer, key)}
    if "learning_rate" in optimizer.state:
        hyper["learning_rate"] = _rate(optimizer, step, schedule, name)
    layout, params = laid_out(_named(parameters), convert)
    check_whole(layout, layout.leaves, name, "mlx.optimizers")
    tx = oriented(getattr(dialect, name)(**hyper), layout, layout.leaves)
    begun = describe(tx, tx.init(params), params)
    if step > 0:
        held, table, full = _held(parameters, optimizer.state), OPTIMIZERS[name], f"mlx.optimizers.{name}"
        begun = [named_slots.begun(layout, i, x, table, held, step, full) for i, x in enumerate(begun)]
        begun = [_in_mlx(x, name, writing=False) for x in begun]
    return tx, host.to_library(fill(tx, params, begun), to)


def to_mlx(
    tx: GradientTransformation, state: Any, optimizer: Any, parameters: Tree, convert: Convert | None = None
) -> None:
    """Load the hyperparameters and the state of a transformation into a live optimizer of MLX.

    Parameters
    ----------
    tx, state
        The transformation, of uniopt or of one of its dialects, and its state, on arrays of any library.
    optimizer
        An optimizer of ``mlx.optimizers`` of the class that is wanted. Its own hyperparameters and state are replaced;
        where the transformation's learning rate follows a schedule, it must have one with the same values.
    parameters
        The parameters that it is to have, as ``model.trainable_parameters()`` returns them.
    convert
        The function that makes the transformation's tree of parameters of a dict of arrays by name. It is gone through
        backwards. By default the tree is the dict.

    Raises
    ------
    PortingError
        If the optimizer would do something else, or has no place for a part of the state. The message names the
        parameter and the reason, and the optimizer is as it was.

    Examples
    --------
    >>> import mlx.core as mx
    >>> import mlx.optimizers
    >>> import numpy as np
    >>> import uniopt
    >>> params = {"w": np.asarray([1.0, 2.0], np.float32)}
    >>> tx = uniopt.sgd(0.5, momentum=0.75)
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> optimizer = mlx.optimizers.SGD(0.1)
    >>> uniopt.porting.to_mlx(tx, state, optimizer, {"w": mx.array(params["w"])})
    >>> optimizer.learning_rate.item(), optimizer.momentum, optimizer.state["w"]["v"]
    (0.5, 0.75, array([1, 2], dtype=float32))
    """
    name = _class_of(optimizer)
    layout, params = laid_out(_named(parameters), convert)
    check_whole(layout, layout.leaves, name, "mlx.optimizers")
    described = describe(tx, host.to_numpy(state), params)
    arguments = arguments_of(described, OPTIMIZERS[name], f"mlx.optimizers.{name}")
    step = count_of(described, f"mlx.optimizers.{name}")
    same = oriented(build(getattr(dialect, name), arguments, described[0]), layout, layout.leaves)
    state_for(same, params, described)
    scheduler = optimizer._schedulers.get("learning_rate")
    rate = arguments.pop("learning_rate", None)
    if callable(rate):
        check_schedule(rate, scheduler and _on_numbers(scheduler), step, f"mlx.optimizers.{name}")
    entries: dict[str, dict[str, Any]] = {}
    whole, together = joined(layout, described)
    for i, leaf in enumerate(together):
        slots = constructor_for(OPTIMIZERS[name], leaf, name).slots
        for theirs, values in named_slots.written(whole, i, _in_mlx(leaf, name, writing=True), slots).items():
            for parameter, value in values.items():
                entries.setdefault(parameter, {})[theirs] = value
    _load(optimizer, parameters, entries, step, rate)
    for key, value in arguments.items():
        setattr(optimizer, key, value)


def _class_of(optimizer: Any) -> str:
    name = type(optimizer).__name__
    if name not in OPTIMIZERS or not type(optimizer).__module__.startswith("mlx.optimizers"):
        raise PortingError(
            f"The optimizer is a {name}, expected one of mlx.optimizers: {', '.join(OPTIMIZERS)}. "
            "Port the optimizers within a MultiOptimizer one by one."
        )
    return name


def _own(name: str) -> list[str]:
    return [key for key in inspect.signature(getattr(dialect, name)).parameters if key != "learning_rate"]


def _rate(optimizer: Any, step: int, schedule: Schedule | None, name: str) -> Any:
    """Return the learning rate: a number, or the schedule."""
    rate = optimizer.state["learning_rate"].item()
    if "learning_rate" not in optimizer._schedulers:
        return rate
    if schedule is None:
        raise PortingError(
            f"The learning rate of mlx.optimizers.{name} follows {optimizer._schedulers['learning_rate']!r}, a "
            "function of MLX's arrays. Pass the same one of uniopt as schedule=."
        )
    check_schedule(schedule, _on_numbers(optimizer._schedulers["learning_rate"]), step, f"mlx.optimizers.{name}")
    check_rate(schedule, max(step - 1, 0), rate, f"mlx.optimizers.{name}")
    return schedule


def _on_numbers(scheduler: Any) -> Schedule:
    """Return a schedule of MLX as a function of numbers."""
    import mlx.core as mx

    return lambda count: scheduler(mx.array(count, mx.int32)).item()


def _named(parameters: Tree) -> dict[str, Any]:
    from mlx.utils import tree_flatten

    return dict(tree_flatten(parameters))


def _nodes(parameters: Tree, state: Tree) -> dict[str, dict[str, Any]]:
    """Return the dict that MLX keeps for each parameter, by name."""
    from mlx.utils import tree_map

    found: list[dict[str, Any]] = []
    try:
        tree_map(lambda _, node: found.append(node), parameters, state)
    except (KeyError, IndexError) as error:
        raise PortingError(
            f"The optimizer has no state for a parameter: {error!r} is missing. Pass the parameters that it has, as "
            "model.trainable_parameters() returned them."
        ) from None
    return dict(zip(_named(parameters), found, strict=True))


def _held(parameters: Tree, state: Tree) -> dict[str, dict[str, Any]]:
    """Return what MLX keeps: NumPy arrays by the name of the slot, and by the name of the parameter."""
    held: dict[str, dict[str, Any]] = {}
    for name, node in _nodes(parameters, state).items():
        for slot, value in node.items():
            held.setdefault(slot, {})[name] = host.array(value)
    return held


def _in_mlx(described: Description, name: str, *, writing: bool) -> Description:
    """Return a description with the momentum of vectors under Muon as MLX has it, an average, or back as a sum."""
    if name != "Muon" or described.switches["rules"] != ("trace",):
        return described
    share = 1.0 - described.switches["trace.decay"]
    trace = described.slots["trace.trace"]
    factor = np.asarray(share if writing else 1.0 / share, trace.dtype)
    return replace(described, slots={**described.slots, "trace.trace": trace * factor})


def _load(optimizer: Any, parameters: Tree, entries: dict[str, dict[str, Any]], step: int, rate: Any) -> None:
    """Give an optimizer of MLX its state."""
    import mlx.core as mx

    backend, named = registry.get("mlx"), _named(parameters)
    values = {
        name: {
            slot: _cast(backend.from_numpy(np.asarray(x)), named[name].dtype, f"{slot} of {name}")
            for slot, x in entry.items()
        }
        for name, entry in entries.items()
    }
    fresh: dict[str, Any] = {"step": mx.array(step, mx.uint64)}
    if callable(rate):
        fresh["learning_rate"] = optimizer._schedulers["learning_rate"](mx.array(max(step - 1, 0), mx.int32))
    elif rate is not None:
        fresh["learning_rate"] = mx.array(rate)
        optimizer._schedulers.pop("learning_rate", None)
    optimizer.state = fresh
    optimizer.init(parameters)
    for name, node in _nodes(parameters, optimizer.state).items():
        node.update(values.get(name, {}))


def _cast(value: Any, dtype: Any, what: str) -> Any:
    """Return an array in the dtype of a parameter; PortingError if that loses digits."""
    cast = value.astype(dtype)
    if not np.array_equal(host.array(cast), host.array(value), equal_nan=True):
        raise PortingError(
            f"{what} is {value.dtype} and loses digits as {dtype}, the dtype of the parameter, in which MLX keeps it. "
            "Make the parameter wider first."
        )
    return cast
