"""The places of a state's arrays in torch's own: a dict for each parameter, by the names of slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from optree import PyTreeSpec


class Naming(NamedTuple):
    """What slots are called in a state dict, and where one that is loaded may differ."""

    names: Mapping[str, str] = MappingProxyType({})
    """Other names for some fields."""
    optional: frozenset[str] = frozenset()
    """Slots that it may lack; they are as at the beginning then."""
    ignored: frozenset[str] = frozenset()
    """What it may have beside them."""
    flags: frozenset[str] = frozenset()
    """Marks of a first step, False where it lacks them."""
    common: bool = True
    """Whether it has what belongs to no parameter."""


def slots_of(structure: PyTreeSpec, keys: Set[str], names: Mapping[str, str]) -> list[tuple[str | None, str]]:
    """Return, for each leaf of a state, the key of its parameter and the name of its slot.

    A slot is called by its field, and by those around it where several have the same: ``mu``, ``1.trace``. What belongs
    to no parameter has None for a key.

    Parameters
    ----------
    structure
        The structure of the state.
    keys
        The keys of the parameters, which are a dict. A dict with the same ones in the state, the innermost if there are
        several, leads to the parameters' slots: also one that a mask or labels of the user's have made.
    names
        Other names for some fields.
    """
    depths = _depths_of_keys(structure, keys)
    found = [_place(accessor, at) for accessor, at in zip(structure.accessors(), depths, strict=True)]
    by_key: dict[str | None, Counter[str]] = {}
    for key, fields in found:
        by_key.setdefault(key, Counter()).update(_endings(fields))
    common = by_key.get(None, Counter())
    slots = []
    for key, fields in found:
        taken = by_key[key] if key is None else by_key[key] + common
        name = next((x for x in _endings(fields) if taken[x] == 1), ".".join(fields))
        slots.append((key, names.get(name, name)))
    return slots


def _depths_of_keys(
    structure: PyTreeSpec, keys: Set[str], depth: int = 0, found: int | None = None
) -> Iterator[int | None]:
    """Yield for each leaf the place in its path where a parameter's key is; None if there is none."""
    if structure.is_leaf():
        yield found
        return
    if set(structure.entries()) == keys:
        found = depth
    for child in structure.children():
        yield from _depths_of_keys(child, keys, depth + 1, found)


def _place(accessor: Any, at: int | None) -> tuple[str | None, list[str]]:
    """Return the key in a path, and its other entries; those of a NamedTuple by the names of its fields."""
    key = None if at is None else accessor[at].entry
    return key, [str(getattr(entry, "field", entry.entry)) for i, entry in enumerate(accessor) if i != at]


def _endings(fields: list[str]) -> list[str]:
    """Return the ends of a path that can be names, the shortest first: numbers follow what they number."""
    starts = [i for i, field in enumerate(fields) if not field.isdigit()]
    return [".".join(fields[i:]) for i in reversed(starts)] + ([".".join(fields)] if 0 not in starts else [])
