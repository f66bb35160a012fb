"""What the entries of a parameter group mean: numbers of a transformation, or arguments of a dialect's constructor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch

from uniopt.adjustable import adjusted, numbers
from uniopt.chain import Chain, chain
from uniopt.dialects.rates import times
from uniopt.errors import HyperparameterError
from uniopt.hyperparameters import PerLeaf, decay_rate, nonnegative, number
from uniopt.leafwise import Leafwise, leafwise
from uniopt.transformation import GradientTransformation, Stage, stage_of, transformation
from uniopt.transforms.count_by_leaf import CountByLeaf
from uniopt.transforms.partition import partition
from uniopt.transforms.scale import ScaleByScheduleState, scale

Settings = Mapping[str, Any]
"""A group's entries, with arrays in the places of those numbers that a compiled step is to read anew each time."""


class Meaning(Protocol):
    """How groups' entries become a transformation."""

    defaults: dict[str, Any]
    """The entries of a group that says nothing of them."""
    counts_by_leaf: bool
    """Whether each parameter has a count of its own steps."""

    def make(
        self, groups: Sequence[Settings], group_of: Mapping[str, int], *, together: bool = False
    ) -> GradientTransformation:
        """Return the transformation of parameters that are a dict, and of groups that are each given by number.

        With `together`, parameters that would each count for themselves have one count.
        """
        ...


class OfConstructor:
    """The entries are the arguments of a function that returns a transformation; each group has one of its own."""

    def __init__(self, constructor: Callable[..., GradientTransformation], defaults: dict[str, Any]) -> None:
        self._constructor = constructor
        self.defaults = defaults
        self.counts_by_leaf = isinstance(stage_of(self._made(defaults)), CountByLeaf)

    def make(
        self, groups: Sequence[Settings], group_of: Mapping[str, int], *, together: bool = False
    ) -> GradientTransformation:
        made = [self._made(group) for group in groups]
        if together:
            made = list(map(_counting_together, made))
        transforms: dict[Hashable, GradientTransformation] = dict(enumerate(made))
        return transforms[0] if len(groups) == 1 else partition(transforms, dict(group_of))

    def _made(self, group: Settings) -> GradientTransformation:
        if group.get("differentiable"):
            raise HyperparameterError(
                "differentiable is True, but a compiled step is not differentiable. Call update of "
                f"uniopt.dialects.torch.{self._constructor.__name__}(...), which is with torch's grad mode on."
            )
        named = inspect.signature(self._constructor).parameters
        return self._constructor(**{name: _scalar(group[name]) for name in named})


class OfTransformation:
    """The entries are the numbers of one transformation of all parameters.

    A name that stands for one number throughout the transformation is an entry. The learning rate is ``lr``, Adam's
    ``b1`` and ``b2`` are ``betas``, and the decay of `uniopt.trace` is ``momentum``. If there is not one number for a
    learning rate, but a schedule, or several numbers, ``lr`` is 1.0, and multiplies each of them, or the updates.
    """

    counts_by_leaf = False

    def __init__(self, tx: GradientTransformation) -> None:
        self._stage = stage_of(tx)
        found: dict[str, list[Any]] = {}
        for owner, name, value in numbers(self._stage):
            found.setdefault(_entry(owner, name), []).append(value)
        rates = found.pop("learning_rate", [])
        single = {name: values[0] for name, values in found.items() if _all_same(values)}
        self._multiplies = not rates or callable(rates[0]) or not _all_same(rates)
        self._is_behind = not rates
        self.defaults: dict[str, Any] = {"lr": 1.0 if self._multiplies else rates[0]}
        if "b1" in single and "b2" in single:
            self.defaults["betas"] = (single.pop("b1"), single.pop("b2"))
        self.defaults |= single

    def make(
        self, groups: Sequence[Settings], group_of: Mapping[str, int], *, together: bool = False
    ) -> GradientTransformation:
        own = list(map(self._numbers, groups))
        table = {name: _by_leaf([found[name] for found in own], group_of) for name in own[0]}
        stage = adjusted(self._stage, partial(self._replace, table))
        if not self._is_behind:
            return transformation(stage)
        factor = adjusted(stage_of(scale(1.0)), lambda owner, name, value: table["lr"])
        return chain(transformation(stage), transformation(factor))

    def _numbers(self, group: Settings) -> dict[str, Any]:
        """Return a group's numbers, by their names in the transformation."""
        found = {name: _scalar(group[name]) for name in self.defaults}
        betas = found.pop("betas", ())
        if "betas" in self.defaults and not (isinstance(betas, tuple) and len(betas) == 2):
            raise HyperparameterError(f"betas is {betas!r}, expected two numbers.")
        for i, beta in enumerate(betas):
            is_sum = self.defaults["betas"][i] == 1.0  # as SM3's second one
            found[f"b{i + 1}"] = beta if is_sum else decay_rate(f"betas[{i}]", beta)
        return {name: nonnegative(name, x) if name == "lr" else number(name, x) for name, x in found.items()}

    def _replace(self, table: Mapping[str, Any], owner: str, name: str, value: Any) -> Any:
        if name != "learning_rate":
            return table.get(_entry(owner, name), value)
        factor = table["lr"]
        if not self._multiplies:
            return factor
        if isinstance(factor, PerLeaf):
            return PerLeaf(_OfGroups({key: times(value, x) for key, x in factor.values.by_key.items()}))
        return times(value, factor)


def _counting_together(tx: GradientTransformation) -> GradientTransformation:
    """Return a transformation that counts by leaf as one that has a common count."""
    stage = stage_of(tx)
    if not isinstance(stage, CountByLeaf):
        return tx
    inner = transformation(stage.inner)
    return inner if _has_count(stage.inner) else chain(inner, leafwise(ScaleByScheduleState, None, _counted))


def _has_count(stage: Stage) -> bool:
    if isinstance(stage, Chain):
        return any(map(_has_count, stage.stages))
    return isinstance(stage, Leafwise) and stage.counter in stage.state._fields


def _counted(xp: Any, g: Any, s: Any) -> Any:
    return g, s


def _scalar(x: Any) -> Any:
    """Return a tensor of one element as a 0-d one, as torch's optimizers take it; also those in a tuple."""
    if isinstance(x, tuple | list):
        return tuple(map(_scalar, x))
    return x.reshape(()) if isinstance(x, torch.Tensor) and x.numel() == 1 else x


def _entry(owner: str, name: str) -> str:
    return "momentum" if (owner, name) == ("trace", "decay") else name


def _all_same(values: Sequence[Any]) -> bool:
    first = values[0]
    return all(x is first or (isinstance(x, float) and isinstance(first, float) and x == first) for x in values)


def _by_leaf(values: Sequence[Any], group_of: Mapping[str, int]) -> Any:
    """Return the groups' value if they have one, or else what gives each parameter that of its group."""
    first = values[0]
    if all(
        x is first or (isinstance(x, int | float) and isinstance(first, int | float) and x == first) for x in values
    ):
        return float(first) if isinstance(first, int) else first
    return PerLeaf(_OfGroups({key: values[i] for key, i in group_of.items()}))


class _OfGroups:
    """Returns for a dict of parameters, or for a part of it, the values that they have by their keys."""

    def __init__(self, by_key: Mapping[str, Any]) -> None:
        self.by_key = by_key

    def __call__(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.by_key[key] for key in params}
