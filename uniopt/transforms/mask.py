"""Transforming some of the leaves and passing the others through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, tree
from uniopt.errors import HyperparameterError
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Mask


class MaskedState(NamedTuple):
    """The state of the inner transformation, which knows only the leaves that it transforms."""

    inner_state: Any


class MaskedNode(NamedTuple):
    """Stands in the inner state for a leaf that is not transformed; a container without leaves."""


def masked(inner: GradientTransformation, mask: Mask) -> GradientTransformation:
    """Transform only the leaves for which the mask is true; the others pass through unchanged.

    Parameters
    ----------
    inner
        The transformation to apply.
    mask
        A tree of bools like the parameters, a prefix of one (one bool for a whole subtree), or a function from the
        parameters (from the gradients, where ``update`` is called without parameters) to one.

    Raises
    ------
    TreeStructureError
        At init or update, if the mask is no prefix of the parameters.
    HyperparameterError
        If a leaf of the mask is no bool: at once, or at init or update where the mask is a function.

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
    return transformation(Masked(stage_of(inner), hyperparameters.mask("mask", mask)))


@dataclass(frozen=True, eq=False, repr=False)
class Masked(Stage):
    """The stage behind `masked`."""

    inner: Stage
    mask: Mask

    def __repr__(self) -> str:
        return f"masked({self.inner!r}, mask={self.mask!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        part, positions = step.part(self._chosen(step, params), MaskedNode())
        return MaskedState(self.inner.init(part, [params[i] for i in positions]))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("masked", state, MaskedState)
        part, positions = step.part(self._chosen(step, updates if params is None else params), MaskedNode())
        chosen_params = None if params is None else [params[i] for i in positions]
        chosen, inner_state = self.inner.update(
            part, [updates[i] for i in positions], state.inner_state, chosen_params, extra
        )
        results = list(updates)
        for i, result in zip(positions, chosen, strict=True):
            results[i] = result
        return results, MaskedState(inner_state)

    def _chosen(self, step: Step, leaves: list[Any]) -> list[bool]:
        reference = step.rebuild(leaves)
        values = tree.broadcast(self.mask(reference) if callable(self.mask) else self.mask, reference, what="mask")
        for i, value in enumerate(values):
            if leaves[i] is not None and not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
                raise HyperparameterError(
                    f"The mask for {step.path(i)} is {value!r}, expected True or False. "
                    "A mask is a tree of bools, a prefix of one, or a function from the parameters to one."
                )
        return [leaf is None or bool(value) for value, leaf in zip(values, leaves, strict=True)]
