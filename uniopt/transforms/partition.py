"""A transformation of its own for each group of parameters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import eq
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.transforms.mask import Marks, MaskedState, init_part, update_part
from uniopt.typing import Tree


class PartitionState(NamedTuple):
    """The states of the inner transformations by label; each knows only its own leaves."""

    inner_states: dict[Hashable, MaskedState]


def partition(
    transforms: Mapping[Hashable, GradientTransformation],
    param_labels: Tree | Callable[[Tree], Tree],
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformation:
    """Transform each parameter by the transformation that its label names.

    Parameters
    ----------
    transforms
        A transformation for each label.
    param_labels
        A tree of labels like the parameters, a prefix of one (one label for a whole subtree), or a function from the
        parameters (from the gradients, where ``update`` is called without parameters) to one, such as `path_labels`
        makes.
    mask_compatible_extra_args
        Whether of extra arguments of ``update`` that are trees like the gradients, each transformation gets its part.

    Raises
    ------
    HyperparameterError
        If `transforms` is no dict; at init or update, if a parameter has a label that no transformation has.
    TreeStructureError
        At init or update, if the labels are no prefix of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.partition({"fast": uniopt.sgd(1.0), "slow": uniopt.sgd(0.1)}, {"w": "fast", "b": "slow"})
    >>> grads = {"w": np.ones(2), "b": np.ones(1)}
    >>> tx.update(grads, tx.init(grads))[0]
    {'w': array([-1., -1.]), 'b': array([-0.1])}
    """
    given = hyperparameters.mapping("transforms", transforms, "labels and transformations")
    stages = {label: stage_of(tx) for label, tx in given.items()}
    return transformation(Partition(stages, param_labels, mask_compatible_extra_args))


@dataclass(frozen=True, eq=False, repr=False)
class Partition(Stage):
    """The stage behind `partition`."""

    stages: dict[Hashable, Stage]
    labels: Tree | Callable[[Tree], Tree]
    mask_compatible_extra_args: bool

    def __repr__(self) -> str:
        also = ", mask_compatible_extra_args=True" if self.mask_compatible_extra_args else ""
        return f"partition({self.stages!r}, param_labels={self.labels!r}{also})"

    def per_example(self) -> bool:
        return all(stage.per_example() for stage in self.stages.values())

    def init(self, step: Step, params: list[Any]) -> Any:
        parts = self.parts(step, params, skipped=False)
        return PartitionState({x: init_part(stage, step, parts[x], params) for x, stage in self.stages.items()})

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("partition", state, PartitionState)
        parts = self.parts(step, updates if params is None else params, skipped=True)
        masks_extra = self.mask_compatible_extra_args
        results, states = updates, {}
        for label, stage in self.stages.items():
            before = state.inner_states[label]
            results, states[label] = update_part(
                stage, step, parts[label], results, before, params, extra, masks_extra=masks_extra
            )
        return results, PartitionState(states)

    def parts(self, step: Step, leaves: list[Any], *, skipped: bool) -> dict[Hashable, Tree]:
        """Return for each label the positions of its leaves; with `skipped`, as `Marks.where` does."""
        marks = Marks(step, leaves, self.labels, what="param_labels")

        for label, i in marks:
            if label not in self.stages:
                raise HyperparameterError(
                    f"The label of {step.path(i)} is {label!r}, expected one of {', '.join(map(repr, self.stages))}. "
                    "Give a transformation for it, or another label."
                )
        return {own: marks.where(partial(eq, own), skipped=skipped) for own in self.stages}


multi_transform = partition
"""The name that `partition` had in optax before."""
