"""The averages of the parameters, taken out of an optimizer's state for evaluation."""

from __future__ import annotations

from functools import partial
from typing import Any

from uniopt import tree
from uniopt.errors import StateError
from uniopt.step import Step
from uniopt.transforms.mask import MaskedNode
from uniopt.transforms.params_average import ParamsAverageState
from uniopt.typing import Tree


def averaged_params(state: Any, params: Tree) -> Tree:
    """Return the average of the parameters that `params_ema` or `params_mean` has kept.

    Parameters
    ----------
    state
        The state of an optimizer with one of the two in it, wherever in a chain it is.
    params
        The parameters. Where the state has no average of one, because it was masked, the result has it as it is.

    Returns
    -------
    Tree
        A tree like the parameters, in their dtypes.

    Raises
    ------
    StateError
        If the state has no average, or two of one parameter: pass the part of the state that is meant.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(1.0), uniopt.params_mean())
    >>> params = {"w": np.asarray([3.0])}
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update({"w": np.ones(1)}, state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> uniopt.averaged_params(state, params)
    {'w': array([1.5])}
    """
    step, _ = Step.of_params(params)
    slots, _, _ = _slots(step, state)
    averages = {i: x for slot in slots.values() for i, x in slot.averages.items()}
    return step.replace(params, [averages.get(i) for i in range(len(step.leaves))])


def swap_averaged_params(state: Any, params: Tree) -> tuple[Tree, Any]:
    """Exchange the parameters with their average; doing so again takes everything back.

    Parameters
    ----------
    state
        The state of an optimizer with `params_ema` or `params_mean` in it.
    params
        The parameters.

    Returns
    -------
    tuple
        The averages as parameters, and the state with the parameters as averages. The arrays themselves change
        places: nothing is copied or converted, so 16-bit parameters become their float32 averages.

    Raises
    ------
    StateError
        If the state has no average, or two of one parameter.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(1.0), uniopt.params_mean())
    >>> params = np.asarray([3.0])
    >>> updates, state = tx.update(np.ones(1), tx.init(params), params)
    >>> params, state = uniopt.swap_averaged_params(state, params)  # evaluate with these
    >>> params, state = uniopt.swap_averaged_params(state, params)  # go on with those
    """
    step, _ = Step.of_params(params)
    slots, parts, structure = _slots(step, state)
    swapped = list(step.leaves)
    for k, slot in slots.items():
        for i, average in slot.averages.items():
            swapped[i] = average
        parts[k] = parts[k]._replace(average=slot.with_others(step.leaves))
    return step.rebuild(swapped), tree.unflatten(structure, parts)


class _Slot:
    """The averages that one part of a state has."""

    def __init__(self, step: Step, average: Tree) -> None:
        found, self._structure = tree.flatten(average, is_leaf=_is_masked)
        try:
            positions: list[Any] = self._structure.flatten_up_to(step.rebuild(list(range(len(step.leaves)))))
        except ValueError as error:
            raise StateError(
                f"The state belongs to another tree: {error} Pass the parameters that it belongs to."
            ) from None
        self._found = found
        self._positions: list[int | None] = [
            None if x is None or _is_masked(x) or step.leaves[i] is None else i
            for x, i in zip(found, positions, strict=True)
        ]
        self.averages: dict[int, Any] = {i: x for x, i in zip(found, self._positions, strict=True) if i is not None}
        """By the position of the parameter."""

    def with_others(self, leaves: list[Any]) -> Tree:
        """Return the tree of the averages with other leaves in place of them."""
        kept = zip(self._found, self._positions, strict=True)
        return tree.unflatten(self._structure, [x if i is None else leaves[i] for x, i in kept])


def _slots(step: Step, state: Any) -> tuple[dict[int, _Slot], list[Any], Any]:
    """Return the averages by the position of the part of the state that has them, and the parts and their structure."""
    parts, structure = tree.flatten(state, is_leaf=lambda x: isinstance(x, ParamsAverageState))
    slots = {k: _Slot(step, part.average) for k, part in enumerate(parts) if isinstance(part, ParamsAverageState)}
    if not slots:
        raise StateError(
            "The state has no average of the parameters. Put uniopt.params_ema or uniopt.params_mean at the end of "
            "the chain."
        )
    known: set[int] = set()
    for slot in slots.values():
        for i, x in slot.averages.items():
            step.check_library(x, partial(step.path, i, "average"))
            if i in known:
                raise StateError(
                    f"The state has two averages of {step.path(i)}. Pass the part of it that has the one you mean."
                )
            known.add(i)
    return slots, parts, structure


def _is_masked(x: Any) -> bool:
    return isinstance(x, MaskedNode)
