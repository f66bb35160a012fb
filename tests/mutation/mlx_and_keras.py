"""The dialects of mlx and keras beside the libraries, over a few steps, and the switches that they alone turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from tests.dialects import keras_runs, mlx_runs
from tests.dialects.problems import gradients_of, start_of
from tests.mutation.dialects import switches_are_their_own
from tests.properties.error_unit import relative
from tests.properties.problems import trajectory
from uniopt import backends

STEPS, CHANGE = 8, 4
RUNS: dict[str, Any] = {"mlx": mlx_runs, "keras": keras_runs}
IN_FLOAT32 = 1e-5
"""The share of a leaf's largest value that mlx may be away: it has numbers in float32 whatever the parameters are."""


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for library, runs in RUNS.items():
        for name, setting in runs.CASES:
            for scale in (1.0, 0.0):
                check = partial(is_followed, library, name, setting, scale)
                yield f"{library}'s {name}, {setting}, from {scale:g}", check
    for rule in ("scale_by_adam", "scale_by_adamax"):
        yield f"switches of {rule}", partial(switches_are_their_own, rule)


def is_followed(library: str, name: str, setting: str, scale: float) -> None:
    start, stream, expected = _of_peer(library, name, setting, scale)
    found = trajectory(RUNS[library].build(name, setting, CHANGE), start, stream, backends.get("numpy"))
    # On torch, keras clips and factors in float32 too.
    exact = library == "keras" and name not in ("Adafactor", "Muon", "SGD") and setting != "amsgrad"
    distance = relative(found, expected)
    bound = 1e-12 if exact else IN_FLOAT32
    assert distance.value <= bound, f"{distance.value:.2g} of the leaf's largest value at step {distance.step}"


@cache
def _of_peer(library: str, name: str, setting: str, scale: float) -> tuple[Any, list[Any], list[list[Any]]]:
    """Return parameters, gradients, and the path of mlx or keras."""
    start, stream = start_of("float64", scale), gradients_of("float64", STEPS)
    return start, stream, RUNS[library].of_peer(name, setting, CHANGE, start, stream)
