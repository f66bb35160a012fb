"""What all leaves must have in common where a framework has one of it for a whole optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from uniopt.errors import PortingError
from uniopt.porting.constructors import Constructor, constructor_for
from uniopt.porting.description import Description
from uniopt.typing import Schedule

_AHEAD = 1000  # steps for which two schedules are compared


def arguments_of(described: Sequence[Description], table: Sequence[Constructor], name: str) -> dict[str, Any]:
    """Return the arguments with which one optimizer does what is described of all leaves.

    Raises
    ------
    PortingError
        If the leaves need different ones.
    """
    common: dict[str, Any] = {}
    for leaf in described:
        found = constructor_for(table, leaf, name).arguments(leaf)
        different = [key for key, x in found.items() if key in common and not _same(common[key], x)]
        if different:
            raise PortingError(
                f"{described[0].path} and {leaf.path} differ in {', '.join(different)}, and {name} has one for all. "
                "Port them into optimizers of their own."
            )
        common = {**found, **common}
    return common


def count_of(described: Sequence[Description], name: str) -> int:
    """Return the number of steps that all leaves have taken; PortingError if they differ."""
    counts = {leaf.path: leaf.count for leaf in described if leaf.counts and leaf.count is not None}
    positions = {leaf.path: leaf.position for leaf in described if leaf.position is not None}
    if len({*counts.values(), *positions.values()}) > 1:
        steps = ", ".join(f"{path} has taken {n}" for path, n in counts.items())
        follows = f" Their schedules are at {set(positions.values())}." if positions else ""
        raise PortingError(f"{name} counts the steps of all parameters together, but {steps}.{follows}")
    known = [*counts.values(), *positions.values(), *(leaf.count for leaf in described if leaf.count is not None)]
    return known[0] if known else 0


def check_rate(schedule: Schedule, step: int, rate: float, name: str, *, tolerance: float = 1e-6) -> None:
    """Raise PortingError unless a schedule has some value at a step."""
    found = float(schedule(step))
    if not math.isclose(found, rate, rel_tol=tolerance, abs_tol=1e-12):
        raise PortingError(
            f"The learning rate of {name} is {rate!r} at step {step}, where the schedule has {found!r}. "
            "Pass a schedule with the same values."
        )


def check_schedule(wanted: Schedule, found: Schedule | None, step: int, name: str) -> None:
    """Raise PortingError unless a framework's schedule, as a function of the step, goes on as another one does."""
    if found is None:
        raise PortingError(
            f"The learning rate follows {wanted!r}, and {name} has a number. Make it with a schedule that has the same "
            "values."
        )
    for n in range(step, step + _AHEAD):  # high powers of float32 drift
        check_rate(wanted, n, float(found(n)), name, tolerance=1e-4)


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(map(_same, x, y))
    if isinstance(x, float) and isinstance(y, float):
        return math.isclose(x, y, rel_tol=1e-9)
    return bool(x == y)
