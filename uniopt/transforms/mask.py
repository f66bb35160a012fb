"""Transforming some of the leaves and passing the others through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, tree
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Mask


class MaskedState(NamedTuple):
    """The state of the inner transformation, which knows only the leaves that it transforms."""

    inner_state: Any


class MaskedNode(NamedTuple):
    """Stands in the inner state for a leaf that is not transformed; a container without leaves."""


def masked(
    inner: GradientTransformation, mask: Mask, *, mask_compatible_extra_args: bool = False
) -> GradientTransformation:
    """Transform only the leaves for which the mask is true; the others pass through unchanged.

    Parameters
    ----------
    inner
        The transformation to apply.
    mask
        A tree of bools like the parameters, a prefix of one (one bool for a whole subtree), or a function from the
        parameters (from the gradients, where ``update`` is called without parameters) to one.
    mask_compatible_extra_args
        Whether extra arguments of ``update`` that are trees like the gradients are masked as well.

    Raises
    ------
    TreeStructureError
        At init or update, if the mask is no prefix of the parameters.
    HyperparameterError
        If a leaf of the mask is no bool: at once, or at init or update where the mask is a function.

    Notes
    -----
    In the inner state a `MaskedNode` stands for each leaf that is left out; in optax, one stands for a whole subtree
    that a prefix leaves out.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.masked(uniopt.scale(-0.1), {"w": True, "b": False})
    >>> grads = {"w": np.ones(2), "b": np.ones(1)}
    >>> updates, _ = tx.update(grads, tx.init(grads))
    >>> updates
    {'w': array([-0.1, -0.1]), 'b': array([1.])}
    """
    return transformation(Masked(stage_of(inner), hyperparameters.mask("mask", mask), mask_compatible_extra_args))


@dataclass(frozen=True, eq=False, repr=False)
class Masked(Stage):
    """The stage behind `masked`."""

    inner: Stage
    mask: Mask
    mask_compatible_extra_args: bool

    def __repr__(self) -> str:
        also = ", mask_compatible_extra_args=True" if self.mask_compatible_extra_args else ""
        return f"masked({self.inner!r}, mask={self.mask!r}{also})"

    def init(self, step: Step, params: list[Any]) -> Any:
        part, positions = step.part(self._chosen(step, params), MaskedNode())
        return MaskedState(self.inner.init(part, [params[i] for i in positions]))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("masked", state, MaskedState)
        chosen = self._chosen(step, updates if params is None else params)
        if self.mask_compatible_extra_args:
            extra = masked_extra(step, chosen, extra)
        return update_part(self.inner, step, chosen, updates, state, params, extra)

    def _chosen(self, step: Step, leaves: list[Any]) -> list[bool]:
        reference = step.rebuild(leaves)
        mask = self.mask(reference) if tree.is_function(self.mask) else self.mask
        values = tree.broadcast(mask, reference, what="mask")
        return [
            leaf is None or hyperparameters.mask_leaf(f"The mask for {step.path(i)}", value)
            for i, (value, leaf) in enumerate(zip(values, leaves, strict=True))
        ]


def update_part(
    inner: Stage,
    step: Step,
    chosen: list[bool],
    updates: list[Any],
    state: MaskedState,
    params: list[Any] | None,
    extra: dict[str, Any],
) -> tuple[list[Any], MaskedState]:
    """Return the updates with the chosen leaves transformed, and the next state of what transforms them."""
    part, positions = step.part(chosen, MaskedNode())
    values = None if params is None else [params[i] for i in positions]
    transformed, after = inner.update(part, [updates[i] for i in positions], state.inner_state, values, extra)
    results = list(updates)
    for i, result in zip(positions, transformed, strict=True):
        results[i] = result
    return results, MaskedState(after)


def masked_extra(step: Step, chosen: list[bool], extra: dict[str, Any]) -> dict[str, Any]:
    """Return extra arguments, of trees like the gradients only what belongs to the chosen leaves."""
    masked = {}
    for name, value in extra.items():
        leaves, structure = tree.flatten(value)
        alike = structure == step.structure
        kept = [x if keep else MaskedNode() for x, keep in zip(leaves, chosen, strict=alike)]
        masked[name] = step.rebuild(kept) if alike else value
    return masked
