"""Transforming some of the leaves and passing the others through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from uniopt import hyperparameters, tree
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Mask, Tree


class MaskedState(NamedTuple):
    """The state of the inner transformation, which knows only the leaves that it transforms."""

    inner_state: Any


class MaskedNode(NamedTuple):
    """Stands in the inner state for a leaf or a subtree that is not transformed; a container without leaves."""


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
    In the inner state a `MaskedNode` stands for what is left out: for a leaf, or for the whole subtree below a False.

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
        return f"masked({self.inner!r}, mask={mask_text(self.mask)}{also})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return init_part(self.inner, step, self.chosen(step, params, skipped=False), params)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("masked", state, MaskedState)
        chosen = self.chosen(step, updates if params is None else params, skipped=True)
        masks_extra = self.mask_compatible_extra_args
        return update_part(self.inner, step, chosen, updates, state, params, extra, masks_extra=masks_extra)

    def chosen(self, step: Step, leaves: list[Any], *, skipped: bool) -> Tree:
        """Return the positions of the leaves that are transformed; with `skipped`, as `Marks.where` does."""

        def path(i: int) -> str:
            return f"The mask for {step.path(i)}"

        marks = Marks(step, leaves, self.mask, what="mask")
        for value, i in marks:
            hyperparameters.mask_leaf(partial(path, i), value)
        return marks.where(bool, skipped=skipped)


class Marks:
    """A mask or labels of the leaves of a step: a tree, a prefix of one, or a function from the leaves to either."""

    def __init__(self, step: Step, leaves: list[Any], given: Any, *, what: str) -> None:
        reference = step.rebuild(leaves)
        found = given(reference) if tree.is_function(given) else given
        self._values, self._structure = tree.flatten_prefix(found, reference, what=what)
        self._positions = self._structure.flatten_up_to(step.rebuild(list(range(len(leaves)))))
        each = [[x] if isinstance(x, int) else tree.leaves(x) for x in self._positions]
        self._present = [[i for i in below if leaves[i] is not None] for below in each]

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """Yield each value with the position of the first leaf that it is for."""
        for value, present in zip(self._values, self._present, strict=True):
            if present:
                yield value, present[0]

    def where(self, keep: Callable[[Any], bool], *, skipped: bool) -> Tree:
        """Return the positions of the leaves whose value is to be kept, for `Step.part`.

        Where it is not, a `MaskedNode` stands for all the leaves that have it. With `skipped`, a leaf of ``None`` is
        kept by any value: its state may be there, and a function could not look at the parameter.
        """
        chosen = []
        for value, positions, present in zip(self._values, self._positions, self._present, strict=True):
            is_skipped = not present and (value is None or (skipped and isinstance(positions, int)))
            chosen.append(positions if is_skipped or keep(value) else MaskedNode())
        return tree.unflatten(self._structure, chosen)


def init_part(inner: Stage, step: Step, chosen: Tree, params: list[Any]) -> MaskedState:
    """Return the first state of what transforms the leaves at the chosen positions."""
    part, positions = step.part(chosen)
    return MaskedState(inner.init(part, [params[i] for i in positions]))


def update_part(
    inner: Stage,
    step: Step,
    chosen: Tree,
    updates: list[Any],
    state: MaskedState,
    params: list[Any] | None,
    extra: dict[str, Any],
    *,
    masks_extra: bool,
) -> tuple[list[Any], MaskedState]:
    """Return the updates with the leaves at the chosen positions transformed, and the next state of what does it.

    Of extra arguments that are trees like the gradients it gets its part, if `masks_extra`.
    """
    part, positions = step.part(chosen)
    values = None if params is None else [params[i] for i in positions]
    given = {name: _masked(step, part, positions, x) for name, x in extra.items()} if masks_extra else extra
    transformed, after = inner.update(part, [updates[i] for i in positions], state.inner_state, values, given)
    results = list(updates)
    for i, result in zip(positions, transformed, strict=True):
        results[i] = result
    return results, MaskedState(after)


def _masked(step: Step, part: Step, positions: list[int], value: Any) -> Any:
    """Return what of an extra argument belongs to a part; all of it, unless it is a tree like the gradients."""
    leaves, structure = tree.flatten(value)
    return part.rebuild([leaves[i] for i in positions]) if structure == step.structure else value


def mask_text(mask: Any) -> str:
    """Return a mask as it is printed: a function of a module by its name."""
    return getattr(mask, "__name__", repr(mask))
