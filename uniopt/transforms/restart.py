"""Beginning again with the state of an inner transformation."""

from __future__ import annotations

from typing import Any

from uniopt import tree
from uniopt.step import Step
from uniopt.transformation import Stage


def restarted(stage: Stage, step: Step, before: Any, params: list[Any], updates: list[Any]) -> Any:
    """Return the first state of a stage for the parameters after an update.

    What belongs to leaves that are skipped in this step stays as it is in the state `before`.
    """
    after = [None if u is None else p + u for p, u in zip(params, updates, strict=True)]
    first = stage.init(step, step.widen(step.narrow(after)))
    found, structure = tree.flatten(first)
    return tree.unflatten(
        structure, [y if x is None else x for x, y in zip(found, structure.flatten_up_to(before), strict=True)]
    )
