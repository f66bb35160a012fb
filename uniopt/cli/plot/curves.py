"""The values of schedules at the steps to be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from uniopt.cli.errors import CommandError
from uniopt.cli.expressions import evaluate
from uniopt.typing import Schedule

_POINTS = 10_000


class Curve(NamedTuple):
    """One schedule, as it was written, and its values at some steps."""

    text: str
    steps: Any
    values: Any


def curves(texts: Sequence[str], steps: int | None) -> list[Curve]:
    """Return the curves of schedules from step 0 to the one given, or to one by which all have shown what they do."""
    schedules = [_schedule(text) for text in texts]
    last = max(map(_enough, schedules)) if steps is None else steps
    counts = np.unique(np.round(np.linspace(0, last, min(last, _POINTS) + 1)).astype(np.int64))
    with np.errstate(all="ignore"):  # what is not finite is found below
        found = [Curve(text.strip(), counts, schedule(counts)) for text, schedule in zip(texts, schedules, strict=True)]
    for curve in found:
        wrong = ~np.isfinite(curve.values)
        if wrong.any():
            value, step = curve.values[wrong][0], counts[wrong][0]
            raise CommandError(f"{curve.text} is {value} at step {step}: only finite values can be drawn", status=1)
    return found


def _schedule(text: str) -> Any:
    schedule = evaluate(text)
    if not callable(schedule):
        raise CommandError(f"{text!r} is no schedule. One is, for example, linear_schedule(0.1, 0.0, 100)")
    return schedule


def _enough(schedule: Schedule) -> int:
    """Return a number of steps: a little more than a schedule changes, or four times the length of one without end."""
    length = math.ceil(_length(schedule))
    later = np.linspace(length, 2 * length + 100, 50).astype(np.int64)
    with np.errstate(all="ignore"):
        goes_on = np.ptp(schedule(later)) > 0.0
    return max(4 * length, 100) if goes_on else max(math.ceil(1.1 * length), 10)


def _length(schedule: Any) -> float:
    """Return the number of steps that the arguments of a schedule speak of."""
    arguments = schedule.keywords
    if "schedules" in arguments:
        begin = arguments["boundaries"][-1] if arguments["boundaries"] else 0
        return float(begin + _length(arguments["schedules"][-1]))
    if "boundaries_and_scales" in arguments:
        return float(max(arguments["boundaries_and_scales"]))
    return float(sum(n for name, n in arguments.items() if name.endswith("_steps") or name == "transition_begin"))
