"""What a transformation does with each leaf: the rules one after another, with their hyperparameters and slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from uniopt import tree
from uniopt.backends import registry
from uniopt.chain import Chain, NamedChain
from uniopt.errors import PortingError
from uniopt.hyperparameters import PerLeaf
from uniopt.leafwise import Leafwise
from uniopt.step import Step
from uniopt.transformation import Stage, check_state
from uniopt.transforms.count_by_leaf import CountByLeaf, CountByLeafState
from uniopt.transforms.decay_first import DecayFirst, DecayFirstState
from uniopt.transforms.global_norm import ScaleByGlobalNorm
from uniopt.transforms.mask import Masked, MaskedState
from uniopt.transforms.partition import Partition, PartitionState
from uniopt.typing import Tree

_Rule: TypeAlias = Leafwise | ScaleByGlobalNorm


@dataclass
class Part:
    """One rule as it treats one leaf.

    Attributes
    ----------
    name
        The rule's name, such as ``"scale_by_adam"``.
    hyper
        Its hyperparameters: numbers, switches, schedules.
    slots
        What its state holds for the leaf, by field: NumPy arrays.
    count
        The number of steps that the rule takes the leaf to have taken; None if it does not ask.
    position
        The number of steps for which its schedules have counted; None if it has none.
    wants_params
        Whether the rule looks at the parameter.
    """

    name: str
    hyper: dict[str, Any]
    slots: dict[str, Any]
    count: int | None
    position: int | None
    wants_params: bool


def parts_of(stage: Stage, state: Any, params: Tree) -> list[list[Part]]:
    """Return for each leaf that is not None the parts that treat it, in order.

    Parameters
    ----------
    stage, state
        The transformation and its state, on NumPy arrays.
    params
        The parameters, NumPy arrays.
    """
    step, leaves = Step.of_params(params)
    found: list[list[Part]] = [[] for _ in leaves]

    def read(rule: _Rule, before: Any, here: _Here) -> Any:
        for i, part in zip(here.positions, _parts(rule, before, here), strict=True):
            found[i].append(part)
        return before

    _walk(stage, state, _Here(step, leaves, list(range(len(leaves))), None), read)
    return [parts for parts, leaf in zip(found, leaves, strict=True) if leaf is not None]


def with_parts(stage: Stage, state: Any, params: Tree, parts: Sequence[Sequence[Part]]) -> Any:
    """Return a state in which each leaf has the slots and counts of its parts, which are as `parts_of` returns them."""
    step, leaves = Step.of_params(params)
    given = iter(parts)
    of_leaves = [None if leaf is None else next(given) for leaf in leaves]
    remaining = [iter(of_leaf or ()) for of_leaf in of_leaves]

    def write(rule: _Rule, before: Any, here: _Here) -> Any:
        own = [next(remaining[i], None) for i in here.positions]
        return before if isinstance(rule, ScaleByGlobalNorm) else _with_slots(rule, before, here, own)

    counts = [
        None if of_leaf is None else next((part.count for part in of_leaf if part.count is not None), 0)
        for of_leaf in of_leaves
    ]
    return _walk(stage, state, _Here(step, leaves, list(range(len(leaves))), None, counts), write)


@dataclass(frozen=True)
class _Here:
    """The leaves that a stage sees: their step, values, positions among all leaves, and counts of their own.

    `new_counts` are those to be written, of all leaves; None where the state is only read.
    """

    step: Step
    leaves: list[Any]
    positions: list[int]
    counts: list[Any] | None
    new_counts: list[int | None] | None = None

    def part(self, chosen: Tree) -> _Here:
        step, among = self.step.part(chosen)
        counts = None if self.counts is None else [self.counts[i] for i in among]
        positions = [self.positions[i] for i in among]
        return _Here(step, [self.leaves[i] for i in among], positions, counts, self.new_counts)

    def counted(self, counts: list[Any]) -> _Here:
        return _Here(self.step, self.leaves, self.positions, counts, self.new_counts)


def _walk(stage: Stage, state: Any, here: _Here, visit: Callable[[_Rule, Any, _Here], Any]) -> Any:
    """Return the state with what `visit` returns for each rule's."""
    if isinstance(stage, ScaleByGlobalNorm):
        return visit(stage, state, here)
    if isinstance(stage, Leafwise):
        check_state(stage.name, state, stage.state)
        return visit(stage, state if isinstance(state, stage.state) else stage.state(), here)
    if isinstance(stage, Chain):
        return tuple(_walk(part, of_part, here, visit) for part, of_part in zip(stage.stages, state, strict=True))
    if isinstance(stage, NamedChain):
        return {name: _walk(part, state[name], here, visit) for name, part in stage.stages}
    if isinstance(stage, CountByLeaf):
        check_state("count_by_leaf", state, CountByLeafState)
        counts = here.step.slot(state.counts, "state.counts")
        if here.new_counts is not None:
            of_leaves = [here.new_counts[i] for i in here.positions]
            counts = [None if n is None else np.asarray(n, np.int32) for n in of_leaves]
        inner_state = _walk(stage.inner, state.inner_state, here.counted(counts), visit)
        return CountByLeafState(here.step.rebuild(counts), inner_state)
    if isinstance(stage, DecayFirst):
        check_state("decay_first", state, DecayFirstState)
        decay_state = _walk(stage.decay, state.decay_state, here, visit)
        return DecayFirstState(decay_state, _walk(stage.inner, state.inner_state, here, visit))
    if isinstance(stage, Masked):
        check_state("masked", state, MaskedState)
        chosen = here.part(stage.chosen(here.step, here.leaves, skipped=False))
        return MaskedState(_walk(stage.inner, state.inner_state, chosen, visit))
    if isinstance(stage, Partition):
        check_state("partition", state, PartitionState)
        parts = stage.parts(here.step, here.leaves, skipped=False)
        inner = state.inner_states
        return PartitionState(
            {
                label: MaskedState(_walk(own, inner[label].inner_state, here.part(parts[label]), visit))
                for label, own in stage.stages.items()
            }
        )
    raise PortingError(
        f"The transformation has {stage!r}, which is no optimizer and stands outside of one in other frameworks. "
        "Port the optimizer within it, with its part of the state."
    )


def _parts(rule: _Rule, state: Any, here: _Here) -> list[Part]:
    if isinstance(rule, ScaleByGlobalNorm):
        hyper = {name: _number(x) for name, x in rule.hyper.items()} | {"over": tuple(here.positions)}
        return [Part(rule.name, hyper, {}, None, None, False) for _ in here.positions]
    columns = {name: here.step.slot(getattr(state, name), f"state.{name}") for name in rule.slots}
    varying = _hyper_of_leaves(rule, here)
    count = int(getattr(state, rule.counter)) if rule.counter in rule.state._fields else None
    follows = any(callable(x) for of_leaf in varying for x in of_leaf.values())
    counts = [count] * len(here.positions)
    if here.counts is not None:
        counts = [None if n is None else int(n) for n in here.counts]
    return [
        Part(
            rule.name,
            varying[i],
            {name: column[i] for name, column in columns.items()},
            counts[i] if "t" in rule.wants else None,
            count if follows else None,
            "p" in rule.wants,
        )
        for i in range(len(here.positions))
    ]


def _hyper_of_leaves(rule: Leafwise, here: _Here) -> list[dict[str, Any]]:
    """Return the hyperparameters for each leaf: those that differ from leaf to leaf resolved, arrays as numbers."""
    reference = here.step.rebuild(here.leaves)
    columns = {}
    for name, value in rule.hyper.items():
        if isinstance(value, PerLeaf):
            values = value.values(reference) if callable(value.values) else value.values
            columns[name] = tree.broadcast(values, reference, what=name)
        else:
            columns[name] = [_number(value)] * len(here.positions)
    return [{name: column[i] for name, column in columns.items()} for i in range(len(here.positions))]


def _number(value: Any) -> Any:
    backend = registry.find(type(value))
    return value if backend is None or isinstance(value, float) else backend.to_numpy(value).item()


def _with_slots(rule: Leafwise, state: Any, here: _Here, parts: Sequence[Part | None]) -> Any:
    fields = {name: here.step.rebuild([part and part.slots[name] for part in parts]) for name in rule.slots}
    if rule.counter in rule.state._fields:
        known = [part.position for part in parts if part and part.position is not None]
        counted = [part.count for part in parts if part and part.count is not None]
        fields[rule.counter] = np.asarray(max(known or counted or [0]), np.int32)
    return state._replace(**fields)
