"""The dialects beside the libraries that they follow, over a few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from tests.dialects.torch_runs import CASES, build, falling, gradients_of, of_torch, start_of, without_some
from tests.properties.error_unit import relative
from tests.properties.problems import trajectory
from uniopt import backends

STEPS, CHANGE = 8, 4


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for name, setting in CASES:
        for scale in (1.0, 0.0):
            yield f"torch's {name}, {setting}, from {scale:g}", partial(torch_is_followed, name, setting, scale)


def torch_is_followed(name: str, setting: str, scale: float) -> None:
    start, stream, expected = _of_torch(name, setting, scale)
    tx = build(name, setting, **falling(name, setting, CHANGE))
    found = trajectory(tx, start, stream, backends.get("numpy"))
    bound = 0.02 if name == "Muon" else 1e-12
    distance = relative(found, expected)
    assert distance.value <= bound, f"{distance.value:.2g} of the leaf's largest value at step {distance.step}"


@cache
def _of_torch(name: str, setting: str, scale: float) -> tuple[Any, list[Any], list[list[Any]]]:
    """Return parameters, gradients some of which are ``None``, and torch's path."""
    start = start_of(name, "float64", scale)
    stream = without_some(gradients_of(name, "float64", STEPS))
    return start, stream, of_torch(name, setting, start, stream, CHANGE)
