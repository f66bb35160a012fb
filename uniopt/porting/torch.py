"""The state of torch's optimizers, read and written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from uniopt.dialects import torch as dialect
from uniopt.errors import HyperparameterError, PortingError
from uniopt.porting import host
from uniopt.porting.constructors import build, constructor_for
from uniopt.porting.description import Description, describe, fill, state_for
from uniopt.porting.joined import joined
from uniopt.porting.layout import Convert, Layout, laid_out
from uniopt.porting.orientation import check_whole, oriented
from uniopt.porting.torch_groups import Group, groups_of
from uniopt.porting.torch_optimizers import OPTIMIZERS
from uniopt.porting.torch_schedulers import check_position, check_same, go_to, schedules_of
from uniopt.porting.torch_slots import read, written
from uniopt.transformation import GradientTransformation
from uniopt.transforms.partition import partition
from uniopt.transforms.scale import set_to_zero

NamedParameters = Mapping[str, Any] | Iterable[tuple[str, Any]]

_FROZEN = "frozen"  # the label of parameters that the optimizer does not have


def from_torch(
    optimizer: Any,
    named_parameters: NamedParameters,
    to: str = "jax",
    convert: Convert | None = None,
    scheduler: Any = None,
) -> tuple[GradientTransformation, Any]:
    """Return the transformation that does what an optimizer of torch does, and the state to which that has come.

    Parameters
    ----------
    optimizer
        A live optimizer of ``torch.optim``, or its ``state_dict()``.
    named_parameters
        The parameters by name, as ``model.named_parameters()`` gives them. With a ``state_dict()`` that has no names,
        they are in the order in which the optimizer was given them.
    to
        The name of the library on whose arrays the state is to be.
    convert
        The function that makes the tree of parameters of a dict of NumPy arrays by name: the one that converts the
        weights, with its transposes and reshapes. By default the tree is the dict.
    scheduler
        One of ``torch.optim.lr_scheduler`` that belongs to the optimizer and was stepped after each of its steps. By
        default the learning rate stays what it is now.

    Returns
    -------
    tuple
        The transformation, one of `uniopt.dialects.torch` with the optimizer's hyperparameters, and its state. Groups
        of parameters become a `partition`, in which those that the optimizer does not have stay as they are.

    Raises
    ------
    PortingError
        If something cannot be represented; the message names it.

    Examples
    --------
    >>> import torch
    >>> import uniopt
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    >>> model(torch.ones(1, 2)).sum().backward()
    >>> _ = optimizer.step()
    >>> tx, state = uniopt.porting.from_torch(optimizer, model.named_parameters(), to="numpy")
    >>> uniopt.tree_get(state, "mu")["weight"]
    array([[0.1, 0.1]], dtype=float32)
    """
    named = host.named_arrays(named_parameters)
    groups = groups_of(optimizer, named)
    layout, params = laid_out(named, convert)
    labels = _labels(layout, groups)
    _check_whole(layout, labels, groups)
    schedules = _of_groups(scheduler, groups)
    if scheduler is not None:
        _check_reached(scheduler, schedules, groups)
    for group, schedule in zip(groups, schedules, strict=True):
        if schedule is not None and group.name != "Rprop":  # whose steps have sizes of their own
            group.hyper["lr"] = schedule
    transforms: dict[Hashable, GradientTransformation] = {
        group.label: oriented(_dialect_of(group), layout, _within(labels, group)) for group in groups
    }
    tx = _together(transforms, labels, layout)
    by_label = {group.label: group for group in groups}
    position = None if scheduler is None else int(scheduler.last_epoch)
    descriptions = [
        start if label == _FROZEN else read(layout, i, by_label[label], start, position)
        for i, (label, start) in enumerate(zip(labels, describe(tx, tx.init(params), params), strict=True))
    ]
    return tx, host.to_library(fill(tx, params, descriptions), to)


def to_torch(
    tx: GradientTransformation,
    state: Any,
    optimizer: Any,
    named_parameters: NamedParameters,
    convert: Convert | None = None,
    scheduler: Any = None,
) -> None:
    """Load the hyperparameters and the state of a transformation into a live optimizer of torch.

    Parameters
    ----------
    tx, state
        The transformation, of uniopt or of one of its dialects, and its state, on arrays of any library.
    optimizer
        An optimizer of ``torch.optim`` over the parameters, of the class and with the groups that are wanted. Its own
        hyperparameters and state are replaced.
    named_parameters
        The parameters by name, as ``model.named_parameters()`` gives them.
    convert
        The function that makes the transformation's tree of parameters of a dict of NumPy arrays by name. It is gone
        through backwards. By default the tree is the dict.
    scheduler
        A scheduler of the optimizer, needed where the learning rate follows a schedule. It must have the same values,
        and is stepped to where the schedule has come.

    Raises
    ------
    PortingError
        If the optimizer would do something else, or has no place for a part of the state. The message names the
        parameter and the reason, and the optimizer is as it was.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> import uniopt
    >>> params = {"weight": np.ones((1, 2), np.float32), "bias": np.zeros(1, np.float32)}
    >>> tx = uniopt.adamw(0.5, weight_decay=0.25)
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> uniopt.porting.to_torch(tx, state, optimizer, model.named_parameters())
    >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]
    (0.5, 0.25)
    >>> optimizer.state[model.weight]["step"]
    tensor(1.)
    """
    if isinstance(optimizer, Mapping):
        raise PortingError("The optimizer is a dict, into which nothing can be loaded. Pass the optimizer itself.")
    named = host.named_arrays(named_parameters)
    groups = groups_of(optimizer, named)
    layout, params = laid_out(named, convert)
    labels = _labels(layout, groups)
    _check_whole(layout, labels, groups)
    descriptions = describe(tx, host.to_numpy(state), params)
    schedules = _of_groups(scheduler, groups)
    whole, together = joined(layout, descriptions)
    saved = optimizer.state_dict()
    entries: dict[int, dict[str, Any]] = {}
    transforms: dict[Hashable, GradientTransformation] = {}
    for k, (group, schedule) in enumerate(zip(groups, schedules, strict=True)):
        leaves = _within(labels, group)
        if not leaves:
            continue
        arguments = _arguments(group, [descriptions[i] for i in leaves])
        own = build(getattr(dialect, group.name), {**group.hyper, **arguments}, descriptions[leaves[0]])
        transforms[group.label] = oriented(own, layout, leaves)
        if group.name != "Rprop":
            first = descriptions[leaves[0]]
            check_same(arguments["lr"], schedule, first.path, first.position or 0)
        for i in _within(_labels(whole, groups), group):
            entries |= written(whole, i, group, together[i], named)
        saved["param_groups"][k] |= _entries(saved["param_groups"][k], arguments)
    state_for(_together(transforms, labels, layout), params, descriptions)
    if scheduler is not None:
        go_to(scheduler, next(x.position for x in descriptions if x.position is not None))
        for entry, group in zip(saved["param_groups"], optimizer.param_groups, strict=True):
            entry["lr"] = group["lr"]
    optimizer.load_state_dict({**saved, "state": entries})


def _labels(layout: Layout, groups: Sequence[Group]) -> list[str]:
    """Return the label of the group that each leaf is in."""
    label = dict.fromkeys(layout.shapes, _FROZEN) | {name: group.label for group in groups for name in group.ids}
    return [layout.one_value(i, label, "the parameter group") for i in layout.leaves]


def _within(labels: Sequence[str], group: Group) -> list[int]:
    """Return the leaves that are in a group."""
    return [i for i, label in enumerate(labels) if label == group.label]


def _check_whole(layout: Layout, labels: Sequence[str], groups: Sequence[Group]) -> None:
    for group in groups:
        check_whole(layout, _within(labels, group), group.name, "torch.optim")


def _dialect_of(group: Group) -> GradientTransformation:
    """Return what does the same as a group of torch; PortingError if that takes more than uniopt."""
    try:
        tx: GradientTransformation = getattr(dialect, group.name)(**group.hyper)
    except HyperparameterError as error:
        raise PortingError(f"torch takes more in {group.name} of {group.label} than uniopt: {error}") from None
    return tx


def _together(
    transforms: Mapping[Hashable, GradientTransformation], labels: Sequence[str], layout: Layout
) -> GradientTransformation:
    """Return the transformation of all groups."""
    if len(transforms) == 1 and _FROZEN not in labels:
        return next(iter(transforms.values()))
    frozen: dict[Hashable, GradientTransformation] = {_FROZEN: set_to_zero()} if _FROZEN in labels else {}
    return partition({**transforms, **frozen}, layout.to_tree(labels))


def _of_groups(scheduler: Any, groups: Sequence[Group]) -> list[Any]:
    """Return the schedule of each group; None for each without a scheduler."""
    if scheduler is None:
        return [None] * len(groups)
    schedules = schedules_of(scheduler)
    if len(schedules) != len(groups):
        raise PortingError(
            f"The scheduler is of an optimizer with {len(schedules)} groups of parameters, and this one has "
            f"{len(groups)}. Pass the scheduler that was made for it."
        )
    return schedules


def _check_reached(scheduler: Any, schedules: Sequence[Any], groups: Sequence[Group]) -> None:
    """Raise PortingError unless the schedule of each group is where the optimizer is."""
    position = int(scheduler.last_epoch)
    for group, schedule in zip(groups, schedules, strict=True):
        check_position(schedule, position, group.hyper["lr"], group.label)
    steps = [int(state["step"]) for group in groups for state in group.states.values() if "step" in state]
    if steps and max(steps) != position:
        raise PortingError(
            f"The scheduler has been stepped {position} times, the optimizer {max(steps)} times. A schedule here "
            "counts the optimizer's steps: step the scheduler after each of them, or port without it."
        )


def _arguments(group: Group, described: Sequence[Description]) -> dict[str, Any]:
    """Return the arguments that make the optimizer of a group do what was described of its leaves."""
    found: list[dict[str, Any]] = []
    for leaf in described:
        constructor = constructor_for(OPTIMIZERS[group.name], leaf, f"torch.optim.{group.name}")
        found.append(constructor.arguments(leaf))
        if different := [name for name, x in found[0].items() if x != found[-1][name]]:
            raise PortingError(
                f"{described[0].path} and {leaf.path} are in one group of the optimizer, but differ in "
                f"{', '.join(different)}. Make the optimizer with groups of their own for them."
            )
    return found[0] if found else {}


def _entries(held: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a group for some arguments, in the types of those that it has."""
    entries = {}
    for name, value in arguments.items():
        if name not in held and value:
            raise PortingError(f"This version of torch has no {name}, which would have to be {value!r}.")
        if name not in held or callable(value):  # a scheduler sets the learning rate
            continue
        if hasattr(held[name], "fill_"):
            entries[name] = held[name].clone().fill_(value)
        else:
            entries[name] = bool(value) if isinstance(held[name], bool) else value
    return entries


def read_file(path: str) -> Any:
    """Return what ``torch.save`` wrote: tensors, numbers and containers of them. Nothing else is read, or run."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)
