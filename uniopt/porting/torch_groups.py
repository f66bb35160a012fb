"""Groups of parameters as torch has them, in a live optimizer or in its ``state_dict()``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uniopt.dialects import torch as dialect
from uniopt.errors import PortingError
from uniopt.porting.torch_optimizers import OPTIMIZERS, optimizer_of


@dataclass
class Group:
    """One group of parameters as torch has it.

    Attributes
    ----------
    label
        What it is called in a `partition`.
    name
        The class of the optimizer.
    hyper
        Its arguments for the dialect's constructor.
    ids
        torch's number of each of its parameters, by name.
    states
        What torch keeps of each of its parameters, by name; without those that have taken no step.
    """

    label: str
    name: str
    hyper: dict[str, Any]
    ids: dict[str, Any]
    states: dict[str, dict[str, Any]]


def groups_of(optimizer: Any, named: Mapping[str, Any]) -> list[Group]:
    """Return the groups of an optimizer, or of its ``state_dict()``, over parameters by name."""
    is_live = not isinstance(optimizer, Mapping)
    name_of_all = _class_of(optimizer) if is_live else None
    saved = optimizer.state_dict() if is_live else optimizer
    if not {"state", "param_groups"} <= saved.keys():
        raise PortingError(
            f"The optimizer is a dict with {', '.join(map(str, saved)) or 'nothing'}, expected its state_dict(), with "
            "state and param_groups."
        )
    names = _names_by_identity(optimizer, saved, named) if is_live else _names_by_position(saved, named)
    groups = []
    for k, entry in enumerate(saved["param_groups"]):
        name = name_of_all or optimizer_of(entry)
        accepted = inspect.signature(getattr(dialect, name)).parameters
        hyper = {key: _number(x) for key, x in entry.items() if key in accepted}
        ids = {names[n]: n for n in entry["params"]}
        states = {names[n]: saved["state"][n] for n in entry["params"] if _has_begun(saved["state"].get(n, {}))}
        groups.append(Group(f"group {k}", name, hyper, ids, states))
    return groups


def _has_begun(state: Mapping[str, Any]) -> bool:
    return any(x is not None for x in state.values())


def _class_of(optimizer: Any) -> str:
    name = type(optimizer).__name__
    if not type(optimizer).__module__.startswith("torch.optim") or name not in OPTIMIZERS:
        raise PortingError(
            f"The optimizer is {type(optimizer).__module__}.{name}, expected one of torch.optim: "
            f"{', '.join(OPTIMIZERS)}."
        )
    return name


def _names_by_identity(optimizer: Any, saved: Mapping[str, Any], named: Mapping[str, Any]) -> dict[Any, str]:
    """Return the name of each of a live optimizer's parameters, by torch's number of it."""
    own: dict[int, str] = {}
    tied: dict[int, str] = {}
    for name, p in named.items():
        (tied if id(p) in own else own)[id(p)] = name
    names = {}
    for group, entry in zip(optimizer.param_groups, saved["param_groups"], strict=True):
        for n, p in zip(entry["params"], group["params"], strict=True):
            if id(p) not in own:
                raise PortingError(
                    f"The optimizer has a parameter of shape {tuple(p.shape)} that is none of named_parameters, which "
                    f"are {', '.join(named)}. Pass the names of all of its parameters, and the very tensors."
                )
            if id(p) in tied:
                raise PortingError(
                    f"{own[id(p)]} and {tied[id(p)]} are one parameter, which has one state. Pass it by one of its "
                    "names, as model.named_parameters() does."
                )
            names[n] = own[id(p)]
    return names


def _names_by_position(saved: Mapping[str, Any], named: Mapping[str, Any]) -> dict[Any, str]:
    """Return the name of each parameter of a state_dict, by torch's number of it: torch's own, or else in order."""
    numbers = [n for entry in saved["param_groups"] for n in entry["params"]]
    if all("param_names" in entry for entry in saved["param_groups"]):
        names = [name for entry in saved["param_groups"] for name in entry["param_names"]]
    else:
        names = list(named)
    if len(names) != len(numbers) or not set(names) <= set(named):
        raise PortingError(
            f"The state_dict is of {len(numbers)} parameters, named_parameters are {', '.join(named)}. Pass those of "
            "the optimizer, in the order in which it was given them."
        )
    return dict(zip(numbers, names, strict=True))


def _number(value: Any) -> Any:
    """Return a hyperparameter as numbers, where it is or has tensors."""
    if isinstance(value, list | tuple):
        return tuple(map(_number, value))
    return value.item() if hasattr(value, "item") else value
