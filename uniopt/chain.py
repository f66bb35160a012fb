"""Transformations one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from uniopt import leaf_by_leaf
from uniopt.errors import HyperparameterError, StateError
from uniopt.leafwise import Leafwise
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, stage_of, transformation


def chain(*transforms: GradientTransformation) -> GradientTransformation:
    """Apply transformations in order: each transforms what the one before it returned.

    Parameters
    ----------
    *transforms
        Any number of transformations; any other pair of functions ``(init, update)``, such as one of optax on JAX
        arrays, is accepted too.

    Returns
    -------
    GradientTransformation
        Its state is the tuple of their states. Extra keyword arguments of ``update`` reach all of them.

    Examples
    --------
    >>> import uniopt
    >>> uniopt.chain(uniopt.scale(2.0), uniopt.scale(-0.1))
    chain(scale(step_size=2.0), scale(step_size=-0.1))
    """
    return transformation(Chain(tuple(stage_of(tx) for tx in transforms)))


def named_chain(*transforms: tuple[str, GradientTransformation]) -> GradientTransformation:
    """Apply named transformations in order; the state is a dict of their states by name.

    Parameters
    ----------
    *transforms
        Pairs (name, transformation); the names differ.

    Raises
    ------
    HyperparameterError
        If a name occurs twice.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.named_chain(("momentum", uniopt.trace(0.9)), ("rate", uniopt.scale(-0.1)))
    >>> sorted(tx.init(np.zeros(2)))
    ['momentum', 'rate']
    """
    names = [name for name, _ in transforms]
    if len(set(names)) < len(names):
        raise HyperparameterError(f"The names are {names}, expected each of them once.")
    return transformation(NamedChain(tuple((name, stage_of(tx)) for name, tx in transforms)))


@dataclass(frozen=True, eq=False, repr=False)
class Chain(Stage):
    """The stage behind `chain`."""

    stages: tuple[Stage, ...]

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self.stages))})"

    def per_example(self) -> bool:
        return any(stage.per_example() for stage in self.stages[:1])

    def init(self, step: Step, params: list[Any]) -> Any:
        return tuple(stage.init(step, params) for stage in self.stages)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        if not isinstance(state, tuple | list) or len(state) != len(self.stages):
            raise StateError(_mismatch(f"a tuple of {len(self.stages)} states", state))
        return _run(self.stages, step, updates, state, params, extra)


@dataclass(frozen=True, eq=False, repr=False)
class NamedChain(Stage):
    """The stage behind `named_chain`."""

    stages: tuple[tuple[str, Stage], ...]

    def __repr__(self) -> str:
        return f"named_chain({', '.join(f'({name!r}, {stage!r})' for name, stage in self.stages)})"

    def per_example(self) -> bool:
        return any(stage.per_example() for _, stage in self.stages[:1])

    def init(self, step: Step, params: list[Any]) -> Any:
        return {name: stage.init(step, params) for name, stage in self.stages}

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        names = [name for name, _ in self.stages]
        if not isinstance(state, dict) or set(state) != set(names):
            raise StateError(_mismatch(f"a dict with the keys {names}", state))
        stages = [stage for _, stage in self.stages]
        updates, states = _run(stages, step, updates, [state[name] for name in names], params, extra)
        return updates, dict(zip(names, states, strict=True))


def _run(
    stages: Sequence[Stage],
    step: Step,
    updates: list[Any],
    states: Sequence[Any],
    params: list[Any] | None,
    extra: dict[str, Any],
) -> tuple[list[Any], tuple[Any, ...]]:
    after: list[Any] = []
    for together, group in groupby(stages, key=lambda stage: type(stage) is Leafwise):
        part = list(group)
        before = states[len(after) : len(after) + len(part)]
        if together:
            updates, reached = leaf_by_leaf.run(part, step, updates, before, params, extra)  # type: ignore[arg-type]  # by the key
            after += reached
            continue
        for stage, state in zip(part, before, strict=True):
            updates, state = stage.update(step, updates, state, params, extra)  # noqa: PLW2901
            after.append(state)
    return updates, tuple(after)


def _mismatch(expected: str, state: Any) -> str:
    found = f"{type(state).__name__} of {len(state)}" if hasattr(state, "__len__") else type(state).__name__
    return (
        f"The chain was given a state that is a {found}, expected {expected}. "
        "Pass the state that this transformation's own init or update returned."
    )
