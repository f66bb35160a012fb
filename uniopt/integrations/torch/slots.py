"""The places of a state's arrays in torch's own: a dict for each parameter, by the names of slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from optree import PyTreeSpec


class Key(str):
    """The key of a parameter in the tree of all parameters; in a path, it says whose slot it leads to."""

    __slots__ = ()


class Naming(NamedTuple):
    """What slots are called in a state dict, and where one that is loaded may differ."""

    names: Mapping[str, str] = MappingProxyType({})
    """Other names for some fields."""
    optional: frozenset[str] = frozenset()
    """Slots that it may lack; they are as at the beginning then."""
    ignored: frozenset[str] = frozenset()
    """What it may have beside them."""
    common: bool = True
    """Whether it has what belongs to no parameter."""


def slots_of(structure: PyTreeSpec, names: Mapping[str, str]) -> list[tuple[Key | None, str]]:
    """Return, for each leaf of a state, the key of its parameter and the name of its slot.

    A slot is called by its field, and by those around it where several have the same: ``mu``, ``1.trace``. What belongs
    to no parameter has None for a key.

    Parameters
    ----------
    structure
        The structure of the state of parameters that are a dict by `Key`.
    names
        Other names for some fields.
    """
    found = [_place(accessor) for accessor in structure.accessors()]
    by_key: dict[Key | None, Counter[str]] = {}
    for key, fields in found:
        by_key.setdefault(key, Counter()).update(_endings(fields))
    common = by_key.get(None, Counter())
    slots = []
    for key, fields in found:
        taken = by_key[key] if key is None else by_key[key] + common
        name = next((x for x in _endings(fields) if taken[x] == 1), ".".join(fields))
        slots.append((key, names.get(name, name)))
    return slots


def _place(accessor: Any) -> tuple[Key | None, list[str]]:
    """Return the key in a path, and its other entries; those of a NamedTuple by the names of its fields."""
    key = next((entry.entry for entry in accessor if isinstance(entry.entry, Key)), None)
    rest = [str(getattr(entry, "field", entry.entry)) for entry in accessor if not isinstance(entry.entry, Key)]
    return key, rest


def _endings(fields: list[str]) -> list[str]:
    """Return the ends of a path that can be names, the shortest first: numbers follow what they number."""
    starts = [i for i, field in enumerate(fields) if not field.isdigit()]
    return [".".join(fields[i:]) for i in reversed(starts)] + ([".".join(fields)] if 0 not in starts else [])
