"""Which leaves the ways of training in 16 bits are for."""

from __future__ import annotations

from uniopt.step import Step
from uniopt.transforms.mask import MaskedNode


def narrow_part(step: Step) -> tuple[Step, list[int]]:
    """Return the step of the 16-bit parameters alone, and their positions; those without a gradient may be any."""
    narrow = [place is None or step.dtype(i) != place.dtype for i, place in enumerate(step.places)]
    return step.part(step.rebuild([i if chosen else MaskedNode() for i, chosen in enumerate(narrow)]))
