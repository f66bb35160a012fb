"""What torch keeps of a parameter, as slots of the normal form and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from uniopt.backends import registry
from uniopt.errors import PortingError
from uniopt.porting import host
from uniopt.porting.constructors import constructor_for
from uniopt.porting.description import Description
from uniopt.porting.layout import Layout
from uniopt.porting.named_slots import arrays_of, slot_of
from uniopt.porting.torch_groups import Group
from uniopt.porting.torch_optimizers import OPTIMIZERS, WITHOUT_STEP


def read(layout: Layout, i: int, group: Group, start: Description, position: int | None) -> Description:
    """Return the description of a leaf as torch has it, given that of before the first step."""
    position = None if start.position is None else position
    names = layout.sources[i].names
    if not layout.one_value(i, {name: name in group.states for name in names}, "whether it has taken a step"):
        return replace(start, position=position)
    states = {name: group.states[name] for name in names}
    steps = {name: 0 if group.name in WITHOUT_STEP else _step(state, name) for name, state in states.items()}
    count = layout.one_value(i, steps, "the number of steps")
    constructor = constructor_for(OPTIMIZERS[group.name], start, f"torch.optim.{group.name}")
    slots: dict[str, Any] = {}
    for theirs, ours in constructor.slots.items():
        held = {name: host.array(x) for name, state in states.items() if (x := state.get(theirs)) is not None}
        if len(held) == len(names):
            slots |= slot_of(layout, i, start, theirs, ours, held)
    return start.begun(slots, None if start.count is None else count, position)


def written(
    layout: Layout, i: int, group: Group, described: Description, named: Mapping[str, Any]
) -> dict[Any, dict[str, Any]]:
    """Return the entries of torch's state for a leaf, by torch's numbers; none where it has taken no step."""
    is_first = bool(np.any(described.slots.get("trace.is_initial_step", False)))
    if is_first or (described.count == 0 and group.name != "Adagrad"):  # which alone begins at once
        return {}
    constructor = constructor_for(OPTIMIZERS[group.name], described, f"torch.optim.{group.name}")
    names = layout.sources[i].names
    entries: dict[str, dict[str, Any]] = {name: {} for name in names}
    for theirs, ours in constructor.slots.items():
        for name, value in arrays_of(layout, i, described, theirs, ours).items():
            entries[name][theirs] = _tensor(value, named[name], f"{theirs} of {name}")
    for entry in entries.values():
        if entry and group.name not in WITHOUT_STEP:
            entry["step"] = _scalar(described.count or 0, "float32")
    if group.name == "ASGD":
        for entry in entries.values():
            entry["mu"] = _scalar(_weight(described), "float64")  # in the parameter's dtype once it is loaded
    return {group.ids[name]: entry for name, entry in entries.items() if entry}


def _step(state: Mapping[str, Any], name: str) -> int:
    if "step" not in state:
        raise PortingError(f"The optimizer's state of {name} has no step, but {', '.join(map(str, state))}.")
    return int(state["step"])


def _tensor(value: Any, like: Any, what: str) -> Any:
    """Return a tensor in the dtype of a parameter; PortingError if that loses digits."""
    tensor = registry.get("torch").from_numpy(np.asarray(value))
    kept = tensor.to(like.dtype)
    if not np.array_equal(host.array(kept), host.array(tensor), equal_nan=True):
        raise PortingError(
            f"{what} is {tensor.dtype} and loses digits as {like.dtype}, the dtype of the parameter, in which torch "
            "keeps it. Make the parameter wider first."
        )
    return kept


def _weight(described: Description) -> float:
    """Return the weight of the next parameters in ASGD's average."""
    return 1.0 / max(1.0, (described.count or 0) - float(described.switches["scale_by_asgd.t0"]))


def _scalar(value: float, dtype: str) -> Any:
    return registry.get("torch").from_numpy(np.asarray(value, dtype))
