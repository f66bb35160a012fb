"""The state of a transformation, made of the slots that parameters have in an optimizer of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from uniopt import tree
from uniopt.backends import registry
from uniopt.errors import StateError
from uniopt.integrations.torch.slots import Naming, slots_of
from uniopt.transformation import GradientTransformation

STEP = "step"
"""A parameter's own count, as torch calls it."""

Own = Mapping[str, dict[str, Any]]


def in_step(own: Own) -> bool:
    """Return whether all parameters have taken the same number of steps."""
    return len({_taken(slots) for slots in own.values()}) == 1


def installed(
    tx: GradientTransformation,
    params: Mapping[str, torch.Tensor | None],
    own: Own,
    naming: Naming,
    *,
    together: bool,
    loaded: bool,
) -> Any:
    """Return the state of a transformation, made of the slots that the parameters have, and of new ones they get.

    Parameters
    ----------
    tx
        The transformation.
    params
        The parameters.
    own
        The slots of those that have been updated, or are about to be.
    naming
        What the slots are called.
    together
        Whether the parameters' own counts are one, which all of them show.
    loaded
        Whether the slots may be those of another optimizer.
    """
    with torch.no_grad():
        leaves, structure = tree.flatten(tx.init(params))
    slots = slots_of(structure, params.keys(), naming.names)
    if loaded:
        _check_loaded(slots, own, naming, {STEP} if together else set())
    steps = max(map(_taken, own.values()))
    first = next(iter(own.values()))
    values: list[Any] = []
    seen: set[int] = set()
    for (key, name), made in zip(slots, leaves, strict=True):
        if not isinstance(made, torch.Tensor):  # None, for a parameter without gradients
            values.append(made)
            continue
        is_count = key is None and name.endswith("count") and not naming.common
        if is_count and together:
            values.append(made.fill_(steps))
            continue
        place = own[key] if key is not None else next((x for x in own.values() if name in x), first)
        given = place.get(name)
        value = (made.fill_(steps) if is_count else made) if given is None else _as(made, given, name)
        place[name] = value.clone() if id(value) in seen else value
        seen.add(id(place[name]))
        values.append(place[name])
    if together:
        count = next(x for (key, name), x in zip(slots, values, strict=True) if key is None and name.endswith("count"))
        for place in own.values():
            place[STEP] = count
    return tree.unflatten(structure, values)


def _taken(slots: Mapping[str, Any]) -> int:
    return int(slots.get(STEP, 0))


def _check_loaded(slots: Sequence[tuple[str | None, str]], own: Own, naming: Naming, also: set[str]) -> None:
    """Raise StateError if what was loaded are not the slots of the parameters; supply and take out what may differ."""
    common = {name for key, name in slots if key is None}
    wanted: dict[str, set[str]] = {key: set(also) for key in own}
    for key, name in slots:
        if key in wanted:
            wanted[key].add(name)
    held = {name for place in own.values() for name in place}
    for key, place in own.items():
        if not place:  # it had no gradient yet
            continue
        for name in naming.ignored - wanted[key]:
            place.pop(name, None)
        place.update(dict.fromkeys((naming.flags & wanted[key]) - place.keys(), False))
        lacks, unknown = wanted[key] - place.keys() - naming.optional, place.keys() - wanted[key] - common
        if naming.common:
            lacks |= common - held
        if lacks or unknown:
            raise StateError(
                f"The state that was loaded has {_listed(place)} for parameter {key}, expected "
                f"{_listed(wanted[key])}. Load that of an optimizer of the same class and settings, or begin anew."
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _as(made: torch.Tensor, given: Any, name: str) -> torch.Tensor:
    """Return a slot as a new one is: of its dtype, device and shape."""
    backend = registry.get("torch")
    value = given if isinstance(given, torch.Tensor) else torch.as_tensor(given)
    if value.shape != made.shape:
        if value.numel() != made.numel():
            raise StateError(
                f"{name} has shape {tuple(value.shape)}, expected {tuple(made.shape)}. "
                "The state belongs to other parameters."
            )
        value = value.reshape(made.shape)
    result: torch.Tensor = backend.place(backend.astype(value, made.dtype), made)
    return result
