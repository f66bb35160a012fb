"""The steps of an optimizer as calls of a compiled step, as long as its parameters, groups and state are the same."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch

from uniopt import tree
from uniopt.adjustable import MadeAtUpdate
from uniopt.compile import CompiledStep, OnLeaves
from uniopt.compile import compile as compiled
from uniopt.errors import LeafError
from uniopt.integrations.torch.inputs import Inputs
from uniopt.integrations.torch.meaning import Meaning
from uniopt.integrations.torch.slots import Naming
from uniopt.integrations.torch.state import in_step, installed
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

    As long as all parameters take their steps together, they have one count; one that is left out begins to count for
    itself, and so do the others then. What follows from a count is computed once instead of once for each parameter.

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
    takes_sparse
        Whether sparse gradients are made dense; they are refused otherwise.
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
        takes_sparse: bool,
        varied: set[str],
        program: Program | None,
        loaded: bool,
    ) -> None:
        self._groups = groups
        self._states = states
        self._all = _parameters(groups)
        keys = _keys(groups)
        self._leaf = leaf
        self._takes_sparse = takes_sparse
        self._where = self._addresses()
        self._inputs = Inputs(groups, meaning.defaults, varied, self._all[0])
        active = {key: p for key, p in zip(keys, self._all, strict=True) if p.grad is not None or states.get(p)}
        self._params = dict.fromkeys(keys) | {key: p if leaf is None else leaf(p) for key, p in active.items()}
        own = {key: states[p] for key, p in active.items()}
        self._keys = sorted(keys)  # in the order of a tree's leaves, and so are the parameters here
        by_key = dict(zip(keys, self._all, strict=True))
        self._ordered = [by_key[key] for key in self._keys]
        self._present = [p.grad is not None for p in self._ordered]
        self._active = [key in active for key in self._keys]
        self._together = meaning.counts_by_leaf and self._present == self._active and in_step(own)
        group_of: dict[str, int] = dict(zip(keys, _numbers(groups), strict=True))
        plain = meaning.make(groups, group_of, together=self._together)
        self._state = installed(plain, self._params, own, naming, together=self._together, loaded=loaded)
        self._held = _held(states)
        key = self._inputs.key(), group_of, self._together
        if program is None or program.key != key:
            make = _Make(meaning, self._inputs, group_of, self._together)
            program = Program(key, compiled(transformation(MadeAtUpdate(make))))
        self.program = program
        self._on_leaves: OnLeaves | None = None  # once a step has updated everything in place

    def run(self, groups: Sequence[Mapping[str, Any]], states: States, extra: dict[str, Any]) -> bool:
        """Take a step; return False, with nothing done, if the optimizer has other parameters, states or settings."""
        if groups is not self._groups or states is not self._states:
            return False
        if not _same(_parameters(groups), self._all) or not _same(_held(states), self._held):
            return False
        given = [p.grad for p in self._ordered]
        present = [g is not None for g in given]
        if present != self._present:
            if not any(present):
                return True
            if self._together or any(here and not known for here, known in zip(present, self._active, strict=True)):
                return False
            self._present = present
        if not self._inputs.read(groups) or self._where != self._addresses():
            return False
        if {_layout(g) for g in given if g is not None} != _DENSE:
            if not self._takes_sparse:
                _refuse_sparse(dict(zip(self._keys, given, strict=True)))
            given = [g if g is None else g.to_dense() for g in given]
        if (leaf := self._leaf) is not None:
            given = [g if g is None else leaf(g) for g in given]
        if self._on_leaves is not None and not extra:
            after = self._on_leaves(given)
        else:
            after = self._step(dict(zip(self._keys, given, strict=True)), extra)
        if after is not None:
            self._write(*after)
        return True

    def _step(self, grads: dict[str, Any], extra: dict[str, Any]) -> tuple[Any, Any] | None:
        """Return the next parameters and the next state; None if all have been updated in place."""
        step, state, params, hyperparams = self.program.step, self._state, self._params, self._inputs.arrays
        after = step(grads, state, params, hyperparams=hyperparams, **extra)
        if after[0] is not params or after[1] is not state:
            return after
        if not extra and all(self._present):
            self._on_leaves = step.on_leaves(grads, state, params, hyperparams=hyperparams)
        return None

    def _addresses(self) -> list[int]:
        """Return where parameters lie of which the transformation sees something else."""
        return [] if self._leaf is None else [p.data_ptr() for p in self._all]

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
        self._state, self._held, self._on_leaves = state, _held(self._states), None


class _Make:
    """Returns the transformation of groups some of whose numbers are given as arrays."""

    def __init__(self, meaning: Meaning, inputs: Inputs, group_of: Mapping[str, int], together: bool) -> None:
        self._meaning = meaning
        self._inputs = inputs
        self._group_of = group_of
        self._together = together

    def __call__(self, arrays: Sequence[Mapping[str, Any]]) -> GradientTransformation:
        return self._meaning.make(self._inputs.settings(arrays), self._group_of, together=self._together)


def _parameters(groups: Sequence[Mapping[str, Any]]) -> list[torch.Tensor]:
    return list(chain.from_iterable([group["params"] for group in groups]))


def _numbers(groups: Sequence[Mapping[str, Any]]) -> list[int]:
    return [i for i, group in enumerate(groups) for _ in group["params"]]


def _held(states: States) -> list[Any]:
    return list(chain.from_iterable(map(dict.values, filter(None, states.values()))))


def _same(xs: list[Any], ys: list[Any]) -> bool:
    return len(xs) == len(ys) and all(map(operator.is_, xs, ys))


def _keys(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a key for each parameter: its name if all have names, or else its number."""
    names = [name for group in groups for name in group.get("param_names", [])]
    count = sum(len(group["params"]) for group in groups)
    return names if len(set(names)) == count else [str(i) for i in range(count)]


def _refuse_sparse(grads: Mapping[str, torch.Tensor | None]) -> None:
    for key, g in grads.items():
        if g is not None and g.layout != torch.strided:
            raise LeafError(
                f"The gradient of parameter {key} has layout {g.layout}, expected a dense one. Make it dense (as by "
                "torch.nn.Embedding(sparse=False)), or give this parameter to SGD, Adagrad or torch.optim.SparseAdam."
            )
