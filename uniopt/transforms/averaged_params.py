"""The averages of the parameters, taken out of an optimizer's state for evaluation."""

from __future__ import annotations

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
    averages, _, _ = _averages(step, state)
    return step.replace(params, [x for x, _ in averages])


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
    averages, parts, structure = _averages(step, state)
    slots = {k: step.slot(x.average, "average") for k, x in enumerate(parts) if isinstance(x, ParamsAverageState)}
    swapped = list(step.leaves)
    for i, (average, k) in enumerate(averages):
        if k is not None:
            swapped[i], slots[k][i] = average, step.leaves[i]
    for k, slot in slots.items():
        parts[k] = parts[k]._replace(average=step.rebuild(slot))
    return step.rebuild(swapped), tree.unflatten(structure, parts)


def _averages(step: Step, state: Any) -> tuple[list[tuple[Any, int | None]], list[Any], Any]:
    """Return for each parameter its average and the position of the part of the state that has it, and those parts."""
    parts, structure = tree.flatten(state, is_leaf=lambda x: isinstance(x, ParamsAverageState))
    found: list[tuple[Any, int | None]] = [(None, None)] * len(step.leaves)
    for k, part in enumerate(parts):
        if not isinstance(part, ParamsAverageState):
            continue
        for i, x in enumerate(step.slot(part.average, "average")):
            if step.leaves[i] is None or isinstance(x, MaskedNode):
                continue
            if found[i][1] is not None:
                raise StateError(
                    f"The state has two averages of {step.path(i)}. Pass the part of it that has the one you mean."
                )
            found[i] = x, k
    if not any(isinstance(part, ParamsAverageState) for part in parts):
        raise StateError(
            "The state has no average of the parameters. Put uniopt.params_ema or uniopt.params_mean at the end of "
            "the chain."
        )
    return found, parts, structure
