"""The state of Keras's optimizers, read and written."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np

from uniopt.backends import registry
from uniopt.dialects import keras as dialect
from uniopt.errors import PortingError
from uniopt.porting import host, named_slots
from uniopt.porting.agreement import arguments_of, check_rate, check_schedule, count_of
from uniopt.porting.constructors import build, constructor_for
from uniopt.porting.description import Description, describe, fill, state_for
from uniopt.porting.joined import joined
from uniopt.porting.keras_optimizers import OPTIMIZERS
from uniopt.porting.keras_variables import NamedVariables, assignments, check_variables, detached, held_in, variables_of
from uniopt.porting.layout import Convert, Layout, laid_out
from uniopt.porting.orientation import check_whole, oriented
from uniopt.transformation import GradientTransformation
from uniopt.typing import Schedule, Tree

_AROUND = ("use_ema", "loss_scale_factor", "gradient_accumulation_steps")
"""What Keras gives all of its optimizers, and other frameworks have beside theirs."""

_CLIPPING = ("clip_by_block_norm", "clip", "clip_by_global_norm")
"""The rules before its optimizers that Keras has as well."""


def from_keras(
    optimizer: Any,
    to: str = "jax",
    convert: Convert | None = None,
    schedule: Schedule | None = None,
    named_variables: NamedVariables | None = None,
) -> tuple[GradientTransformation, Any]:
    """Return the transformation that does what an optimizer of Keras does, and the state to which that has come.

    Parameters
    ----------
    optimizer
        A live optimizer of ``keras.optimizers`` that has been built.
    to
        The name of the library on whose arrays the state is to be.
    convert
        The function that makes the tree of parameters of a dict of arrays by name: the one that converts the weights,
        with its transposes and reshapes. By default the tree is the dict.
    schedule
        The optimizer's schedule as one of uniopt, needed where it has one.
    named_variables
        The optimizer's variables by name. By default the names are their paths, such as ``sequential/dense/kernel``.

    Returns
    -------
    tuple
        The transformation, one of `uniopt.dialects.keras` with the optimizer's hyperparameters, and its state.

    Raises
    ------
    PortingError
        If something cannot be represented; the message names it.

    Examples
    --------
    >>> import keras
    >>> import uniopt
    >>> optimizer = keras.optimizers.SGD(learning_rate=0.5, momentum=0.75)
    >>> optimizer.apply([keras.ops.ones(2)], [keras.Variable([1.0, 2.0], name="w")])
    >>> tx, state = uniopt.porting.from_keras(optimizer, to="numpy")
    >>> uniopt.tree_get(state, "trace")
    {'w': array([-0.5, -0.5], dtype=float32)}
    """
    name = _class_of(optimizer)
    named = variables_of(optimizer, named_variables)
    step = int(optimizer.iterations)
    hyper = _hyper(name, optimizer) | {"learning_rate": _rate(optimizer, step, schedule, name)}
    layout, params = laid_out({name: detached(x) for name, x in named.items()}, convert)
    _check_whole(optimizer, layout, name)
    hyper["weight_decay_mask"] = _mask(optimizer, named, layout)
    tx = oriented(getattr(dialect, name)(**hyper), layout, layout.leaves)
    begun = describe(tx, tx.init(params), params)
    _check_groups(optimizer, named, layout, begun)
    held, table, full = held_in(optimizer, named, _slots(name)), OPTIMIZERS[name], f"keras.optimizers.{name}"
    reached = [named_slots.begun(layout, i, _unclipped(x), table, held, step, full) for i, x in enumerate(begun)]
    reached = [_in_keras(x, name, writing=False) for x in reached]
    reached = [replace(x, switches=y.switches) for x, y in zip(reached, begun, strict=True)]
    return tx, host.to_library(fill(tx, params, reached), to)


def to_keras(
    tx: GradientTransformation,
    state: Any,
    optimizer: Any,
    convert: Convert | None = None,
    named_variables: NamedVariables | None = None,
) -> None:
    """Load the hyperparameters and the state of a transformation into a live optimizer of Keras.

    Parameters
    ----------
    tx, state
        The transformation, of uniopt or of one of its dialects, and its state, on arrays of any library.
    optimizer
        An optimizer of ``keras.optimizers`` of the class that is wanted, built for the variables. Its own
        hyperparameters and state are replaced, but for those that decide which variables it has (``amsgrad``,
        ``centered``, whether there is momentum) and for a schedule: they must be those of the transformation.
    convert
        The function that makes the transformation's tree of parameters of a dict of arrays by name. It is gone through
        backwards. By default the tree is the dict.
    named_variables
        The optimizer's variables by name. By default the names are their paths, such as ``sequential/dense/kernel``.

    Raises
    ------
    PortingError
        If the optimizer would do something else, or has no place for a part of the state. The message names the
        parameter and the reason, and the optimizer is as it was.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> import uniopt
    >>> params = {"w": np.asarray([1.0, 2.0], np.float32)}
    >>> tx = uniopt.sgd(0.5, momentum=0.75)
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> optimizer = keras.optimizers.SGD(momentum=0.5)
    >>> optimizer.build([keras.Variable(params["w"], name="w")])
    >>> uniopt.porting.to_keras(tx, state, optimizer)
    >>> float(optimizer.learning_rate), optimizer.momentum, optimizer.momentums[0].value.tolist()
    (0.5, 0.75, [-0.5, -1.0])
    """
    name = _class_of(optimizer)
    full = f"keras.optimizers.{name}"
    named = variables_of(optimizer, named_variables)
    layout, params = laid_out({name: detached(x) for name, x in named.items()}, convert)
    _check_whole(optimizer, layout, name)
    described = describe(tx, host.to_numpy(state), params)
    _check_groups(optimizer, named, layout, described)
    unclipped = [_unclipped(x) for x in described]
    arguments = arguments_of([x for x in unclipped if not _is_left_out(x)] or unclipped, OPTIMIZERS[name], full)
    own = {**_hyper(name, optimizer), **arguments}
    check_variables(optimizer, own, full)
    step = count_of(described, full)
    hyper = {**own, "weight_decay_mask": _mask(optimizer, named, layout)}
    same = oriented(build(getattr(dialect, name), hyper, described[0]), layout, layout.leaves)
    state_for(same, params, described)
    rate = own.pop("learning_rate")
    scheduler = _scheduler(optimizer)
    if callable(rate):
        check_schedule(rate, scheduler, step, full)
    elif scheduler is not None:
        raise PortingError(
            f"The learning rate of {full} follows a schedule, and is to be {rate!r}. Make it with a number."
        )
    entries: dict[str, dict[str, Any]] = {}
    whole, together = joined(layout, unclipped)
    for i, leaf in enumerate(together):
        slots = constructor_for(OPTIMIZERS[name], leaf, full).slots
        for theirs, values in named_slots.written(whole, i, _in_keras(leaf, name, writing=True), slots).items():
            entries.setdefault(theirs, {}).update(values)
    for variable, value in assignments(optimizer, named, entries):
        variable.assign(registry.get(keras_backend()).from_numpy(value))
    optimizer._iterations.assign(step)
    if not callable(rate):
        optimizer.learning_rate = rate
    for key, value in own.items():
        setattr(optimizer, key, value)


def keras_backend() -> str:
    """Return the name of the library that Keras runs on."""
    import keras

    return str(keras.backend.backend())


def _class_of(optimizer: Any) -> str:
    """Return the class of an optimizer of Keras, which on torch has a twin of the same name."""
    name = type(optimizer).__name__
    if name not in OPTIMIZERS or not type(optimizer).__module__.startswith("keras."):
        raise PortingError(f"The optimizer is a {name}, expected one of keras.optimizers: {', '.join(OPTIMIZERS)}.")
    if not optimizer.built:
        raise PortingError("The optimizer has no variables yet. Call optimizer.build(model.trainable_variables) first.")
    used = [feature for feature in _AROUND if getattr(optimizer, feature)]
    if used:
        raise PortingError(
            f"The optimizer has {', '.join(used)}, which stands outside of one in other frameworks. Port one without, "
            "and put uniopt's transformation for it around."
        )
    return name


def _hyper(name: str, optimizer: Any) -> dict[str, Any]:
    """Return the hyperparameters but the learning rate."""
    left_out = {*_AROUND, "learning_rate", "weight_decay_mask", "name", "ema_momentum", "ema_overwrite_frequency"}
    own = [key for key in inspect.signature(getattr(dialect, name)).parameters if key not in left_out]
    return {key: getattr(optimizer, key) for key in own}


def _scheduler(optimizer: Any) -> Schedule | None:
    """Return a learning rate of Keras that follows a schedule, as a function of numbers."""
    import keras

    schedule = optimizer._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return lambda count: float(schedule(keras.ops.convert_to_tensor(count)))
    if isinstance(schedule, keras.Variable):
        return None
    raise PortingError(f"The learning rate is {schedule!r}, expected a number or a LearningRateSchedule.")


def _rate(optimizer: Any, step: int, schedule: Schedule | None, name: str) -> Any:
    """Return the learning rate: a number, or the schedule."""
    scheduler = _scheduler(optimizer)
    if scheduler is None:
        return float(optimizer.learning_rate.value)
    if schedule is None:
        raise PortingError(
            f"The learning rate of keras.optimizers.{name} follows {optimizer._learning_rate!r}. "
            "Pass the same schedule of uniopt as schedule=."
        )
    check_rate(schedule, step, scheduler(step), f"keras.optimizers.{name}")
    check_schedule(schedule, scheduler, step, f"keras.optimizers.{name}")
    return schedule


def _mask(optimizer: Any, named: dict[str, Any], layout: Layout) -> Tree | None:
    """Return which leaves decay; None if all do."""
    decays = {name: bool(optimizer._use_weight_decay(x)) for name, x in named.items()}
    if all(decays.values()):
        return None
    return layout.to_tree([layout.one_value(i, decays, "the decay") for i in layout.leaves])


def _check_groups(optimizer: Any, named: dict[str, Any], layout: Layout, described: list[Description]) -> None:
    """Raise PortingError where Muon treats a variable as a matrix, and the leaf is treated otherwise."""
    if not hasattr(optimizer, "_should_use_adamw"):
        return
    uses_adam = {name: bool(optimizer._should_use_adamw(x)) for name, x in named.items()}
    for i, leaf in enumerate(described):
        if layout.one_value(i, uses_adam, "the treatment by Muon") != ("scale_by_muon" not in leaf.switches["rules"]):
            raise PortingError(
                f"{leaf.path} is treated by {' and '.join(leaf.switches['rules'])}, and Keras's Muon treats "
                f"{', '.join(layout.sources[i].names)} otherwise, by its path. Let the names be the paths."
            )


def _slots(name: str) -> set[str]:
    """Return the attributes of an optimizer that hold its slots."""
    return {slot for constructor in OPTIMIZERS[name] for slot in constructor.slots}


def _is_left_out(described: Description) -> bool:
    """Return whether a leaf may be one that the mask keeps from decaying."""
    switches = described.switches
    return bool(switches["decoupled_decay"] == 0.0 and switches["coupled_decay"] == 0.0)


def _check_whole(optimizer: Any, layout: Layout, name: str) -> None:
    check_whole(layout, layout.leaves, name, "keras.optimizers")
    if optimizer.clipnorm:
        check_whole(layout, layout.leaves, "clipnorm", f"keras.optimizers.{name}")


def _unclipped(described: Description) -> Description:
    """Return the description of a leaf without the clipping, which comes before all else and has no slots."""
    rules = described.switches["rules"]
    first = next((n for n, rule in enumerate(rules) if rule not in _CLIPPING), len(rules))
    return replace(described, switches={**described.switches, "rules": rules[first:]})


def _in_keras(described: Description, name: str, *, writing: bool) -> Description:
    """Return a description with the momentum as Keras keeps it, or back in the normal form.

    It has the learning rate inside, with the sign of the step in SGD and the other one in RMSprop. Where the learning
    rate follows a schedule, the momentum of the transformation has it inside as well.
    """
    changed = dict(described.slots)
    switches = described.switches
    if "trace.trace" in changed:
        sign = 1.0 if name == "RMSprop" else -1.0
        rate = -1.0 if "scale_by_schedule.step_size_fn" in switches else switches["learning_rate"]
        changed["trace.trace"] = _scaled(changed["trace.trace"], sign * rate, writing, described.path)
    if "scale_by_muon.mu" in changed:  # a sum, where the normal form has an average
        factor = 1.0 / (1.0 - switches["scale_by_muon.beta"])
        changed["scale_by_muon.mu"] = _scaled(changed["scale_by_muon.mu"], factor, writing, described.path)
    return replace(described, slots=changed)


def _scaled(slot: Any, factor: float, writing: bool, path: str) -> Any:
    if factor == 0.0 and not writing:
        raise PortingError(f"The momentum of {path} has the learning rate inside, which is 0: what it was is lost.")
    with_factor = np.asarray(factor, slot.dtype)
    return slot * with_factor if writing else slot / with_factor
