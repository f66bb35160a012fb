"""The numbers of parameter groups that a compiled step reads anew each time, so that none of them compiles it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from uniopt.backends import registry
from uniopt.errors import HyperparameterError

ALWAYS = frozenset({"lr", "weight_decay"})
"""Entries that are read anew from the beginning. Others are when they have changed for the first time."""

Group = Mapping[str, Any]


class Inputs:
    """Numbers of groups as 0-d tensors, and what else the groups say.

    A 0 stays a number: a decay or a momentum of 0 needs no memory and no arithmetic. So do numbers that have not
    changed yet, because ``1 - beta`` is rounded once then, and not twice. Learning rates are tensors at once.

    Parameters
    ----------
    groups
        The groups.
    names
        The entries that matter.
    varied
        The names of entries that have changed before.
    like
        A parameter, where the tensors are to be.

    Attributes
    ----------
    arrays
        For each group, the tensors by entry, or by entry and position.
    """

    def __init__(self, groups: Sequence[Group], names: Iterable[str], varied: set[str], like: torch.Tensor) -> None:
        self._names = tuple(names)
        self._entries = itemgetter(*self._names)
        self._read = self._entries if len(self._names) > 1 else lambda group: (self._entries(group),)
        self._seen = [self._read(group) for group in groups]
        self._varied = varied
        backend = registry.get("torch")
        self._dtype = torch.float64 if backend.has_float64(like) else torch.float32
        self._device = like.device
        self.arrays: tuple[dict[str, torch.Tensor], ...] = tuple({} for _ in groups)
        self._given: list[tuple[torch.Tensor, torch.Tensor]] = []  # arrays, and the tensors that they follow
        for group, arrays in zip(self._seen, self.arrays, strict=True):
            for name, entry in zip(self._names, group, strict=True):
                for place, value in _numbers(name, entry):
                    if self._is_input(name, place, value):
                        arrays[place] = self._array(name, value)

    def settings(self, arrays: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the groups with those arrays in the places of their numbers."""
        return [
            {name: _filled(name, entry, own) for name, entry in zip(self._names, group, strict=True)}
            for group, own in zip(self._seen, arrays, strict=True)
        ]

    def key(self) -> Any:
        """Return what decides about the program."""
        return self.settings([dict.fromkeys(own, _ANY) for own in self.arrays])

    def read(self, groups: Sequence[Group]) -> bool:
        """Take the groups' present numbers; return False if something else has changed."""
        for number, group in enumerate(groups):
            found = self._read(group)
            if found != self._seen[number] and not self._take(number, found):
                return False
        for array, given in self._given:
            array.copy_(given.detach().reshape(()))
        return True

    def _take(self, number: int, found: tuple[Any, ...]) -> bool:
        """Take a group's numbers; return whether the inputs are all that has changed."""
        arrays, only_inputs = self.arrays[number], True
        for name, before, after in zip(self._names, self._seen[number], found, strict=True):
            if before is after:
                continue
            old, new = dict(_numbers(name, before)), dict(_numbers(name, after))
            if old.keys() != new.keys():
                only_inputs = False
                continue
            for place, value in new.items():
                was = old[place]
                plain = _is_plain(value) and _is_plain(was)
                if value is was or (plain and value == was):
                    continue
                if plain and not isinstance(value, Integral):
                    self._varied.add(place)
                if plain and place in arrays and self._is_input(name, place, value):
                    arrays[place].fill_(float(value))
                else:
                    only_inputs = False
        self._seen[number] = found
        return only_inputs

    def _is_input(self, name: str, place: str, value: Any) -> bool:
        if isinstance(value, torch.Tensor | np.ndarray):
            return True
        return _is_plain(value) and (name == "lr" or (value != 0 and (name in ALWAYS or place in self._varied)))

    def _array(self, name: str, value: Any) -> torch.Tensor:
        if isinstance(value, np.ndarray):
            value = torch.as_tensor(value)  # of the same memory, in which it may change
        if not isinstance(value, torch.Tensor):
            return torch.tensor(value, dtype=self._dtype, device=self._device)
        if value.numel() != 1:
            raise HyperparameterError(f"{name} is a tensor of shape {tuple(value.shape)}, expected one number.")
        array = value.detach().to(self._device, self._dtype, copy=True).reshape(())
        self._given.append((array, value))
        return array


_ANY = object()


def _is_plain(value: Any) -> bool:
    """Return whether an entry is a number, of Python or NumPy."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _numbers(name: str, entry: Any) -> list[tuple[str, Any]]:
    """Return the places of an entry, and what is there: itself, or the elements of a tuple."""
    if isinstance(entry, tuple | list):
        return [(f"{name}[{i}]", x) for i, x in enumerate(entry)]
    return [(name, entry)]


def _filled(name: str, entry: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(entry, tuple | list):
        return tuple(arrays.get(place, x) for place, x in _numbers(name, entry))
    return arrays.get(name, entry)
