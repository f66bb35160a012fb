"""The state of Keras's optimizers, read and written."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
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
from uniopt.porting.keras_optimizers import OPTIMIZERS
from uniopt.porting.layout import Convert, Layout
from uniopt.transformation import GradientTransformation
from uniopt.typing import Schedule, Tree

NamedVariables = Mapping[str, Any]

_AROUND = ("clipnorm", "clipvalue", "global_clipnorm", "use_ema", "loss_scale_factor", "gradient_accumulation_steps")
"""What Keras gives all of its optimizers, and other frameworks have beside theirs."""


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
    named = _named(optimizer, named_variables)
    step = int(optimizer.iterations)
    hyper = _hyper(name, optimizer) | {"learning_rate": _rate(optimizer, step, schedule, name)}
    layout, params = _laid_out(named, convert)
    tx = getattr(dialect, name)(**hyper, weight_decay_mask=_mask(optimizer, named, layout))
    begun = describe(tx, tx.init(params), params)
    _check_groups(optimizer, named, layout, begun)
    held = _held(name, optimizer, named)
    begun = [_read(layout, i, start, name, held, step) for i, start in enumerate(begun)]
    return tx, host.to_library(fill(tx, params, begun), to)


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
    named = _named(optimizer, named_variables)
    layout, params = _laid_out(named, convert)
    described = describe(tx, host.to_numpy(state), params)
    _check_groups(optimizer, named, layout, described)
    arguments = arguments_of([x for x in described if not _is_left_out(x)] or described, OPTIMIZERS[name], full)
    own = {**_hyper(name, optimizer), **arguments}
    _check_variables(name, optimizer, own)
    step = count_of(described, full)
    mask = _mask(optimizer, named, layout)
    same = build(getattr(dialect, name), {**own, "weight_decay_mask": mask}, described[0])
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
    for i, leaf in enumerate(described):
        slots = constructor_for(OPTIMIZERS[name], leaf, full).slots
        for theirs, values in named_slots.written(layout, i, _in_keras(leaf, name, writing=True), slots).items():
            entries.setdefault(theirs, {}).update(values)
    for variable, value in _assignments(optimizer, named, entries):
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


def _named(optimizer: Any, named: NamedVariables | None) -> dict[str, Any]:
    """Return the variables by name, in the order in which the optimizer has them."""
    variables = optimizer._trainable_variables
    if named is None:
        found = {x.path: x for x in variables}
        if len(found) < len(variables):
            raise PortingError("Several variables have the same path. Pass named_variables=, with names that differ.")
        return found
    names = {id(variable): name for name, variable in named.items()}
    if missing := [x.path for x in variables if id(x) not in names]:
        raise PortingError(f"named_variables has not {', '.join(missing)}, which the optimizer has. Pass all of them.")
    return {names[id(x)]: x for x in variables}


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


def _laid_out(named: dict[str, Any], convert: Convert | None) -> tuple[Layout, Tree]:
    """Return the layout of the parameters' tree, and the tree on NumPy arrays."""
    values = {name: host.array(_detached(x)) for name, x in named.items()}
    layout = Layout.of({name: x.shape for name, x in values.items()}, convert)
    return layout, layout.to_tree([layout.to_leaf(i, values) for i in range(len(layout.sources))])


def _detached(variable: Any) -> Any:
    value = variable.value
    return value.detach() if hasattr(value, "detach") else value


def _mask(optimizer: Any, named: dict[str, Any], layout: Layout) -> Tree | None:
    """Return which leaves decay; None if all do."""
    decays = {name: bool(optimizer._use_weight_decay(x)) for name, x in named.items()}
    if all(decays.values()):
        return None
    return layout.to_tree([layout.one_value(i, decays, "the decay") for i in range(len(layout.sources))])


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


def _is_left_out(described: Description) -> bool:
    """Return whether a leaf may be one that the mask keeps from decaying."""
    switches = described.switches
    return bool(switches["decoupled_decay"] == 0.0 and switches["coupled_decay"] == 0.0)


def _lists(name: str, optimizer: Any) -> dict[str, Any]:
    """Return the lists of variables that an optimizer has, by their attributes; one for all for NAdam's product."""
    attributes = {slot for constructor in OPTIMIZERS[name] for slot in constructor.slots}
    return {slot: getattr(optimizer, slot, None) for slot in attributes}


def _held(name: str, optimizer: Any, named: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what Keras keeps: NumPy arrays by the name of the slot, and by the name of the parameter."""
    held: dict[str, dict[str, Any]] = {}
    for slot, variables in _lists(name, optimizer).items():
        of_all = variables if isinstance(variables, list) else [variables] * len(named)
        pairs = zip(named, of_all, strict=False)
        held[slot] = {parameter: host.array(_detached(x)) for parameter, x in pairs if x is not None}
    return held


def _read(
    layout: Layout, i: int, start: Description, name: str, held: dict[str, dict[str, Any]], step: int
) -> Description:
    names = constructor_for(OPTIMIZERS[name], start, f"keras.optimizers.{name}").slots
    slots = named_slots.read(layout, i, start, names, held)
    position = None if start.position is None else step
    return _in_keras(start.begun(slots, None if start.count is None else step, position), name, writing=False)


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


def _check_variables(name: str, optimizer: Any, wanted: Mapping[str, Any]) -> None:
    """Raise PortingError if the optimizer would need other variables than it has been built with."""
    for switch in ("amsgrad", "centered"):
        if switch in wanted and bool(wanted[switch]) != bool(getattr(optimizer, switch)):
            raise PortingError(
                f"keras.optimizers.{name} has {switch}={getattr(optimizer, switch)!r}, and its variables are for that. "
                f"Make it with {switch}={wanted[switch]!r}."
            )
    if "momentum" in wanted and bool(wanted["momentum"]) != bool(optimizer.momentum):
        raise PortingError(
            f"keras.optimizers.{name} has momentum={optimizer.momentum!r}, and its variables are for that. "
            f"Make it with momentum={wanted['momentum']!r}."
        )


def _assignments(optimizer: Any, named: dict[str, Any], entries: dict[str, dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Return the variables and what they are to hold; PortingError if one cannot."""
    found = []
    for slot, values in entries.items():
        variables = getattr(optimizer, slot)
        if not isinstance(variables, list):
            if len({np.asarray(x).tobytes() for x in values.values()}) > 1:
                raise PortingError(f"Keras has one {slot} for all parameters, but they have different ones.")
            found.append((variables, _cast(next(iter(values.values())), variables, slot)))
            continue
        for parameter, variable in zip(named, variables, strict=True):
            if parameter in values:
                found.append((variable, _cast(values[parameter], variable, f"{slot} of {parameter}")))
    return found


def _cast(value: Any, variable: Any, what: str) -> Any:
    """Return a slot in the dtype of a variable; PortingError if that loses digits."""
    held = host.array(_detached(variable))
    value = np.asarray(value)
    cast = value.astype(held.dtype)
    if not np.array_equal(cast.astype(value.dtype), value, equal_nan=value.dtype.kind in "fc"):
        raise PortingError(f"{what} is {value.dtype} and loses digits as {variable.dtype}, in which Keras keeps it.")
    return cast
