"""What optimizes a leaf, and how far it has come: the form in which every framework's state passes to another's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from uniopt import tree
from uniopt.errors import PortingError
from uniopt.porting.normal_form import NormalForm, Place, normal_form
from uniopt.porting.parts import Part, parts_of, with_parts
from uniopt.transformation import GradientTransformation, stage_of
from uniopt.typing import Tree


@dataclass(frozen=True)
class Description:
    """How one leaf is optimized.

    Attributes
    ----------
    path
        The expression that reaches the leaf, for errors.
    switches
        Hyperparameters by name, as in `NormalForm`.
    slots
        NumPy arrays by name, in the conventions of the normal form.
    count
        The number of steps that the leaf has taken; None where nobody counts.
    counts
        Whether that number decides anything.
    position
        The number of steps for which schedules have counted; None without schedules.
    first_values
        Hyperparameters that have decided what slots begin with, as in `NormalForm`.
    """

    path: str
    switches: dict[str, Any]
    slots: dict[str, Any]
    count: int | None
    counts: bool
    position: int | None
    first_values: dict[str, Any] = field(default_factory=dict)

    def begun(self, slots: dict[str, Any], count: int | None, position: int | None) -> Description:
        """Return the description of the leaf after some steps, given that of before the first one."""
        for name in self.slots:
            if name not in slots and not name.endswith(".is_initial_step"):
                raise PortingError(f"{self.path} has no {name}, which its state is to have.")
        return replace(self, slots=slots, count=count, position=position)


def describe(tx: GradientTransformation, state: Any, params: Tree) -> list[Description]:
    """Return the description of each leaf that is not None.

    Parameters
    ----------
    tx, state
        The transformation and its state, on NumPy arrays.
    params
        The parameters, NumPy arrays.
    """
    found = parts_of(stage_of(tx), state, params)
    leaves = tree.leaves_with_paths(params)
    return [_described(path, parts, np.shape(p)) for (path, p), parts in zip(leaves, found, strict=True)]


def fill(tx: GradientTransformation, params: Tree, descriptions: Sequence[Description]) -> Any:
    """Return the state of a transformation with the slots and counts of some descriptions.

    Parameters
    ----------
    tx
        The transformation that the descriptions are of.
    params
        The parameters, NumPy arrays.
    descriptions
        That of each leaf.

    Raises
    ------
    PortingError
        If a slot is missing, or does not fit.
    """
    leaves = tree.leaves(params)
    state = tx.init(params)
    parts = parts_of(stage_of(tx), state, params)
    for of_leaf, p, described in zip(parts, leaves, descriptions, strict=True):
        _fill(of_leaf, normal_form(of_leaf, np.shape(p)), described)
    return with_parts(stage_of(tx), state, params, parts)


def state_for(tx: GradientTransformation, params: Tree, descriptions: Sequence[Description]) -> Any:
    """Return the state in which a transformation goes on where another one, that was described, has come to.

    Parameters
    ----------
    tx
        A transformation that does the same.
    params
        The parameters, NumPy arrays.
    descriptions
        That of each leaf.

    Raises
    ------
    PortingError
        If it does not do the same, or its state cannot be the same.
    """
    state = fill(tx, params, descriptions)
    for reached, wanted in zip(describe(tx, state, params), descriptions, strict=True):
        if different := differences(wanted, reached):
            raise _otherwise(wanted, different)
    return state


def differences(wanted: Description, found: Description) -> list[str]:
    """Return in words where what optimizes a leaf differs: rules, or else hyperparameters, and counts."""
    different = _different_switches(wanted.switches, found.switches)
    if wanted.counts and found.counts and wanted.count != found.count:
        different.append(f"its steps are {found.count}, not {wanted.count}")
    if wanted.position != found.position:
        different.append(f"its schedule is at step {found.position}, not {wanted.position}")
    return different


def _described(path: str, parts: list[Part], shape: tuple[int, ...]) -> Description:
    form = normal_form(parts, shape)
    slots = {name: _taken(parts, place, f"{name} of {path}") for name, place in form.places.items()}
    counts = {part.count for part in parts if part.count is not None}
    # The relative step is a schedule of the leaf's own count.
    positions = {part.count if part.name == "scale_by_relative_step" else part.position for part in parts} - {None}
    if len(counts) > 1 or len(positions) > 1:
        raise PortingError(
            f"The rules of {path} have counted {_listed(sorted(counts | positions))} steps, expected one number."
        )
    count, position = next(iter(counts), None), next(iter(positions), None)
    return Description(path, form.switches, slots, count, form.counts, position, form.first_values)


def _taken(parts: list[Part], place: Place, what: str) -> Any:
    """Return a slot in the conventions of the normal form."""
    value = parts[place.part].slots[place.name]
    if isinstance(value, list):  # several arrays, which nothing is done to
        return value
    value = np.asarray(value)
    if place.factor == 0.0:
        raise PortingError(f"{what} has the learning rate inside, which is 0: what it was is lost.")
    if place.factor != 1.0:
        value = value / np.asarray(place.factor, value.dtype)
    return value if place.axis is None else np.expand_dims(value, place.axis)


def _fill(parts: list[Part], form: NormalForm, described: Description) -> None:
    """Put the slots and counts of a description into parts that have not begun."""
    if form.switches["rules"] != described.switches["rules"]:
        raise _otherwise(described, _different_switches(described.switches, form.switches))
    for slot, place in form.places.items():
        held = parts[place.part].slots[place.name]
        if place.name == "is_initial_step":
            value = described.slots.get(slot, np.asarray(False))
        elif slot in described.slots:
            value = described.slots[slot]
        elif different := _different_switches(described.switches, form.switches):
            raise _otherwise(described, different)
        else:
            raise PortingError(f"{described.path} has no {slot}, which the state is to have.")
        value = value if place.axis is None else np.squeeze(value, place.axis)
        if place.factor != 1.0:
            value = value * np.asarray(place.factor, value.dtype)
        parts[place.part].slots[place.name] = _in_dtype(value, held, f"{slot} of {described.path}")
    for part in parts:
        part.count = None if part.count is None else (described.count or 0)
        if part.position is not None:
            part.position = described.count if described.position is None else described.position


def _in_dtype(value: Any, held: Any, what: str) -> Any:
    """Return a value in the dtype and shape of what is held now."""
    if isinstance(held, list):
        return [_in_dtype(x, y, what) for x, y in zip(value, held, strict=True)]
    if value.shape != held.shape:
        raise PortingError(f"{what} has shape {value.shape}, expected {held.shape}.")
    result = value.astype(held.dtype)
    if not np.array_equal(result.astype(value.dtype), value, equal_nan=value.dtype.kind in "fc"):
        raise PortingError(f"{what} is {value.dtype}, and loses digits as {held.dtype}.")
    return result


def _different_switches(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    if wanted["rules"] != found["rules"]:
        return [f"by {_listed(found['rules'])}, not by {_listed(wanted['rules'])}"]
    values = [(name, found.get(name), wanted.get(name)) for name in {**wanted, **found}]
    return [f"{name} is {x!r}, not {y!r}" for name, x, y in values if not _same(x, y)]


def _otherwise(described: Description, different: Sequence[str]) -> PortingError:
    return PortingError(f"{described.path} would be optimized otherwise: {'; '.join(different)}.")


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, float) and isinstance(y, float | int) and not isinstance(y, bool):
        return math.isclose(x, y, rel_tol=1e-12)
    return bool(x == y)


def _listed(values: Sequence[Any]) -> str:
    return " and ".join(map(str, values)) or "none"
