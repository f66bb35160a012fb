"""What the ways of training in 16 bits share: which leaves they are for, and that they need the parameters."""

from __future__ import annotations

from typing import Any

from uniopt.errors import MissingParamsError
from uniopt.step import Step
from uniopt.transforms.mask import MaskedNode


def part_of(step: Step) -> tuple[Step, list[int]]:
    """Return the step of the 16-bit parameters alone, and their positions; those without a gradient may be any."""
    chosen = [place is None or step.dtype(i) != place.dtype for i, place in enumerate(step.places)]
    return step.part(chosen, MaskedNode())


def needed(name: str, params: list[Any] | None) -> list[Any]:
    """Return the parameters; MissingParamsError if there are none."""
    if params is None:
        raise MissingParamsError(
            f"{name} needs the parameters, but update was called without them. Call tx.update(grads, state, params)."
        )
    return params
