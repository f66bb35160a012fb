"""Optimizers that look at whole parameters, and parameters whose axes go elsewhere on their way into a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras.optimizers as k
import mlx.optimizers as m
import numpy as np
import pytest

from tests.porting.frameworks import SIDES, there_and_back
from tests.porting.runs import Named, TorchRun, gradients_of, start_of, uniopt_run
from uniopt import porting
from uniopt.errors import PortingError

STEPS = 5
SHAPES = {"bias": (6,), "conv": (6, 2, 3, 4), "dense": (6, 4)}
Convert = Callable[[Named], Any]


def turned(named: Named) -> Any:
    """Return the parameters with the outputs, which come first, in the last place, and backwards."""
    return {name: np.moveaxis(x, 0, -1)[..., ::-1] for name, x in named.items()}


FRAMEWORKS: dict[str, tuple[str, Any]] = {
    "mlx": ("mlx", lambda: m.Muon(2.0**-4, 0.75)),
    "keras": ("keras", lambda: k.Muon(2.0**-4, momentum=0.75)),
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_muon_finds_the_axes_of_its_matrices(framework: str) -> None:
    """More rows than columns, so that the factor of the shape tells one from the other; and axes that are one there."""
    side, make = FRAMEWORKS[framework]
    start, stream = start_of("float32", SHAPES), gradients_of("float32", 3 * STEPS, SHAPES)
    assert there_and_back(side, make, start, stream, turned) <= 64


def test_muon_of_torch_beside_what_it_does_not_have() -> None:
    """A convolution, which another optimizer has, is no matrix."""
    start, stream = start_of("float64", SHAPES), gradients_of("float64", 2 * STEPS, SHAPES)
    whole, begun = (TorchRun("Muon", start, {"lr": 0.1}, [(["dense"], {})]) for _ in range(2))
    whole.run(stream)
    begun.run(stream[:STEPS])
    tx, state = porting.from_torch(begun.optimizer, begun.named, "numpy", turned)
    later = [turned(g) for g in stream[STEPS:]]
    params, state = uniopt_run(tx, state, turned(begun.params), later, "numpy")
    np.testing.assert_allclose(params["dense"], turned(whole.params)["dense"], atol=1e-3)  # in bfloat16
    np.testing.assert_array_equal(params["conv"], turned(start)["conv"])
    porting.to_torch(tx, state, begun.optimizer, begun.named, turned)


def stacked(named: Named) -> Any:
    return {"all": np.stack([named["first"], named["second"]])}


def reshaped(named: Named) -> Any:
    return {**named, "first": named["first"].reshape(2, 12)}


def flat(named: Named) -> Any:
    return {**named, "first": named["first"].reshape(-1)}


def backwards(named: Named) -> Any:
    return {**named, "first": named["first"][::-1]}


def halves(named: Named) -> Any:
    return {"first": named["first"], "second": dict(enumerate(np.split(named["second"], 2)))}


WAYS: dict[str, Convert] = {f.__name__: f for f in (stacked, reshaped, flat, backwards, halves)}
MAKES: dict[str, tuple[str, Any]] = {
    "torch.optim.Muon": ("torch", ("Muon", {})),
    "torch.optim.Adafactor": ("torch", ("Adafactor", {"eps": (1e-3, 1e-3)})),
    "mlx.optimizers.Muon": ("mlx", lambda: m.Muon(0.1)),
    "mlx.optimizers.Adafactor": ("mlx", m.Adafactor),
    "keras.optimizers.Muon": ("keras", k.Muon),
    "keras.optimizers.Adafactor": ("keras", k.Adafactor),
    "keras.optimizers.Lamb": ("keras", k.Lamb),
}
ALIKE = {"backwards": set(MAKES), "reshaped": {"keras.optimizers.Lamb"}, "flat": {"keras.optimizers.Lamb"}}
"""The ways that change nothing: the order among rows, and for norms the shape."""


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MAKES)
def test_ways_on_which_whole_parameters_are_lost_are_refused(name: str, way: str, steps: int) -> None:
    """In both directions, and before the first step, where no slot could tell."""
    side, make = MAKES[name]
    shapes = {"first": (6, 4), "second": (6, 4)}
    start, stream = start_of("float32", shapes), gradients_of("float32", steps, shapes)
    begun = SIDES[side](make, start)
    begun.run(stream)
    if name in ALIKE.get(way, ()):
        begun.ported(WAYS[way])
        return
    with pytest.raises(PortingError, match=rf"is made of .*(first|second).*, but {name} depends on"):
        begun.ported(WAYS[way])
    tx, state = begun.ported()
    with pytest.raises(PortingError, match=f"but {name} depends on"):
        begun.load(tx, state, WAYS[way])
