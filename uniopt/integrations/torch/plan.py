"""The steps of an optimizer as calls of a compiled step, as long as its parameters, groups and state are the same."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch

from uniopt import tree
from uniopt.adjustable import MadeAtUpdate
from uniopt.backends import registry
from uniopt.compile import CompiledStep
from uniopt.compile import compile as compiled
from uniopt.errors import LeafError, StateError
from uniopt.integrations.torch.inputs import Inputs
from uniopt.integrations.torch.meaning import Meaning
from uniopt.integrations.torch.slots import Key, Naming, slots_of
from uniopt.transformation import GradientTransformation, transformation

States = dict[torch.Tensor, dict[str, Any]]
Leaf = Callable[[torch.Tensor], torch.Tensor]

_layout = operator.attrgetter("layout")
_DENSE = {torch.strided}


class Program(NamedTuple):
    """A compiled step, and what it was made for."""

    key: Any
    step: CompiledStep


class Plan:
    """The trees of a compiled step, whose arrays are those of the optimizer.

    Parameters
    ----------
    groups
        The parameter groups.
    states
        The state of each parameter that has had a gradient: its slots by name. The others' is made here.
    meaning
        What the groups' entries mean.
    naming
        What the slots are called.
    leaf
        Returns a parameter, or a gradient, as the transformation is to see it.
    varied
        The entries that have changed before.
    program
        A compiled step that may do.
    loaded
        Whether the state may be that of another optimizer.
    """

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        states: States,
        *,
        meaning: Meaning,
        naming: Naming,
        leaf: Leaf | None,
        varied: set[str],
        program: Program | None,
        loaded: bool,
    ) -> None:
        self._groups = groups
        self._states = states
        self._all = _parameters(groups)
        self._leaf = leaf
        keys = _keys(groups)
        group_of: dict[str, int] = dict(zip(keys, _numbers(groups), strict=True))
        present = [p.grad is not None or bool(states.get(p)) for p in self._all]
        self._idle = [p for p, here in zip(self._all, present, strict=True) if not here]
        self._keys = keys
        self._inputs = Inputs(groups, meaning.defaults, varied, self._all[0])
        self._params = {
            key: (p if leaf is None else leaf(p)) if here else None
            for key, p, here in zip(keys, self._all, present, strict=True)
        }
        plain = meaning.make(groups, group_of)
        own = {key: states[p] for key, p, here in zip(keys, self._all, present, strict=True) if here}
        self._state = _installed(plain, self._params, own, naming, loaded)
        self._held = _held(states)
        key = self._inputs.key(), group_of
        if program is None or program.key != key:
            make = _Make(meaning, self._inputs, group_of)
            program = Program(key, compiled(transformation(MadeAtUpdate(make))))
        self.program = program

    def is_current(self, groups: Sequence[Mapping[str, Any]], states: States) -> bool:
        """Return whether the optimizer still has the parameters, the state and the settings of this plan."""
        if groups is not self._groups or states is not self._states:
            return False
        if not _same(_parameters(groups), self._all) or not _same(_held(states), self._held):
            return False
        if any(p.grad is not None for p in self._idle):
            return False
        return self._inputs.read(groups)

    def run(self, extra: dict[str, Any]) -> None:
        """Take a step."""
        given = [p.grad for p in self._all]
        layouts = {_layout(g) for g in given if g is not None}
        if not layouts:
            return
        if layouts != _DENSE:
            _refuse_sparse(dict(zip(self._keys, given, strict=True)))
        if (leaf := self._leaf) is not None:
            given = [g if g is None else leaf(g) for g in given]
        grads = dict(zip(self._keys, given, strict=True))
        params, state = self.program.step(grads, self._state, self._params, hyperparams=self._inputs.arrays, **extra)
        if params is not self._params or state is not self._state:
            self._write(params, state)

    def _write(self, params: Any, state: Any) -> None:
        """Bring what could not be updated in place to its places."""
        for key, p in self._params.items():
            if p is not None and params[key] is not p:
                with torch.no_grad():
                    p.copy_(params[key])
        before, structure = tree.flatten(self._state)
        after = structure.flatten_up_to(state)
        replaced = {id(x): y for x, y in zip(before, after, strict=True) if x is not y}
        for slots in self._states.values():
            for name, x in slots.items():
                slots[name] = replaced.get(id(x), x)
        self._state, self._held = state, _held(self._states)


class _Make:
    """Returns the transformation of groups some of whose numbers are given as arrays."""

    def __init__(self, meaning: Meaning, inputs: Inputs, group_of: Mapping[str, int]) -> None:
        self._meaning = meaning
        self._inputs = inputs
        self._group_of = group_of

    def __call__(self, arrays: Sequence[Mapping[str, Any]]) -> GradientTransformation:
        return self._meaning.make(self._inputs.settings(arrays), self._group_of)


def _parameters(groups: Sequence[Mapping[str, Any]]) -> list[torch.Tensor]:
    return list(chain.from_iterable([group["params"] for group in groups]))


def _numbers(groups: Sequence[Mapping[str, Any]]) -> list[int]:
    return [i for i, group in enumerate(groups) for _ in group["params"]]


def _held(states: States) -> list[Any]:
    return list(chain.from_iterable(map(dict.values, states.values())))


def _same(xs: list[Any], ys: list[Any]) -> bool:
    return len(xs) == len(ys) and all(map(operator.is_, xs, ys))


def _keys(groups: Sequence[Mapping[str, Any]]) -> list[Key]:
    """Return a key for each parameter: its name if all have names, or else its number."""
    names = [name for group in groups for name in group.get("param_names", [])]
    count = sum(len(group["params"]) for group in groups)
    return [Key(name) for name in names] if len(set(names)) == count else [Key(i) for i in range(count)]


def _installed(
    tx: GradientTransformation,
    params: Mapping[Key, torch.Tensor | None],
    own: Mapping[Key, dict[str, Any]],
    naming: Naming,
    loaded: bool,
) -> Any:
    """Return the state of a transformation, made of the slots that the parameters have, and of new ones they get."""
    with torch.no_grad():
        leaves, structure = tree.flatten(tx.init(params))
    slots = slots_of(structure, naming.names)
    if loaded:
        _check_loaded(slots, own, naming)
    first = next(iter(own.values()))
    values = []
    for (key, name), made in zip(slots, leaves, strict=True):
        if not isinstance(made, torch.Tensor):  # None, for a parameter without gradients
            values.append(made)
            continue
        place = own[key] if key is not None else next((x for x in own.values() if name in x), first)
        given = place.get(name)
        place[name] = made if given is None else _as(made, given, name)
        values.append(place[name])
    return tree.unflatten(structure, values)


def _check_loaded(slots: Sequence[tuple[Key | None, str]], own: Mapping[Key, dict[str, Any]], naming: Naming) -> None:
    """Raise StateError if what was loaded are not the slots of the parameters; take out what is to be ignored."""
    common = {name for key, name in slots if key is None}
    wanted: dict[Key, set[str]] = {key: set() for key in own}
    for key, name in slots:
        if key in wanted:
            wanted[key].add(name)
    held = {name for place in own.values() for name in place}
    for key, place in own.items():
        if not place:  # it had no gradient yet
            continue
        for name in naming.ignored - wanted[key]:
            place.pop(name, None)
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


def _refuse_sparse(grads: Mapping[Key, torch.Tensor | None]) -> None:
    for key, g in grads.items():
        if g is not None and g.layout != torch.strided:
            raise LeafError(
                f"The gradient of parameter {key} has layout {g.layout}, expected a dense one. Make it dense (as by "
                "torch.nn.Embedding(sparse=False)), or give this parameter to torch.optim.SparseAdam."
            )
