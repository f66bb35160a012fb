"""The dialects of mlx and keras, over 50 steps on every library, against mlx's and keras's own optimizers.

keras runs on the backend that ``KERAS_BACKEND`` names, torch by default.
"""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import mlx.optimizers
import numpy as np
import pytest

import uniopt
from tests.conftest import float64, require
from tests.dialects import keras_runs, mlx_runs
from tests.dialects.problems import gradients_of, start_of
from tests.properties.error_unit import relative, ulps
from tests.properties.problems import trajectory
from uniopt.dialects import keras as keras_dialect
from uniopt.dialects import mlx as mlx_dialect
from uniopt.errors import HyperparameterError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of keras's own Nadam

STEPS, CHANGE = 50, 20
SHORT, EARLY = 12, 5
RUNS: dict[str, Any] = {"mlx": mlx_runs, "keras": keras_runs}
CASES = [(library, name, setting) for library, runs in RUNS.items() for name, setting in runs.CASES]
ONE_EACH = [
    (library, name, list(settings)[-1]) for library, runs in RUNS.items() for name, settings in runs.SETTINGS.items()
]

Wide = dict[tuple[str, ...], float]

# What was measured, rounded up, where the libraries compute in float32 whatever the parameters are. A case is named by
# as much of it as is needed.
IN_FLOAT64: Wide = {
    ("mlx", "Adam", "corrected"): 1e-7,  # powers of the decay rates
    ("mlx", "Adam", "corrected, default"): 2e-5,
    ("mlx", "AdamW", "corrected"): 1e-7,
    ("mlx", "Adafactor"): 1e-7,  # the decay rate and the relative step
    ("mlx", "Muon"): 1e-6,  # the coefficients
    ("keras", "SGD", "momentum"): 1e-7,  # on torch, the bounds of norms
    ("keras", "SGD", "nesterov"): 1e-7,
    ("keras", "SGD", "all"): 1e-7,
    ("keras", "Adam", "amsgrad"): 1e-7,
    ("keras", "Adafactor"): 5e-7,  # the decay rate
    ("keras", "Muon"): 5e-7,  # the coefficients
}
# In float32, 1 - 0.999**t is wrong by 1e-5 at the first step; from parameters of 0, all that a leaf has moved is.
# The Newton-Schulz steps of Muon enlarge every rounding.
IN_FLOAT32: Wide = {
    ("mlx", "Adam", "corrected, default"): 150.0,
    ("mlx", "Muon"): 20.0,
    ("keras", "Adam", "default"): 150.0,
    ("keras", "AdamW", "default"): 150.0,
    ("keras", "Nadam", "default"): 150.0,
    ("keras", "Nadam", "accumulated"): 150.0,
    ("keras", "Lamb", "default"): 150.0,
    ("keras", "Muon"): 150.0,
    ("keras", "ScheduleFreeAdamW"): 150.0,
}


def bound(wide: Wide, usual: float, *case: str) -> float:
    """Return the bound for a case."""
    return next((wide[case[:n]] for n in (3, 2) if case[:n] in wide), usual)


def in_float64(*case: str) -> float:
    return bound(IN_FLOAT64, 1e-12, *case)


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["normal", "zeros"])
@pytest.mark.parametrize(("library", "name", "setting"), CASES)
def test_float64(library: str, name: str, setting: str, scale: float) -> None:
    start, stream = start_of("float64", scale), gradients_of("float64", STEPS)
    found = trajectory(RUNS[library].build(name, setting, CHANGE), start, stream, require("numpy"))
    expected = RUNS[library].of_peer(name, setting, CHANGE, start, stream)
    assert relative(found, expected).value <= in_float64(library, name, setting)


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["normal", "zeros"])
@pytest.mark.parametrize(("library", "name", "setting"), CASES)
def test_float32(library: str, name: str, setting: str, scale: float) -> None:
    start, stream = start_of("float32", scale), gradients_of("float32", STEPS)
    found = trajectory(RUNS[library].build(name, setting, CHANGE), start, stream, require("numpy"))
    expected = RUNS[library].of_peer(name, setting, CHANGE, start, stream)
    assert ulps(found, expected).value <= bound(IN_FLOAT32, 8.0, library, name, setting)


@pytest.mark.parametrize(
    "on", ["torch", "array_api_strict", *(pytest.param(x, marks=pytest.mark.wide) for x in ("jax", "mlx", "dask"))]
)
@pytest.mark.parametrize(("library", "name", "setting"), ONE_EACH)
def test_every_library(library: str, name: str, setting: str, on: str) -> None:
    start, stream = start_of("float64", 1.0), gradients_of("float64", SHORT)
    expected = RUNS[library].of_peer(name, setting, EARLY, start, stream)
    with float64(on):
        found = trajectory(RUNS[library].build(name, setting, EARLY), start, stream, require(on))
    assert relative(found, expected).value <= in_float64(library, name, setting)


@pytest.mark.parametrize("on", ["numpy", "torch"])
@pytest.mark.parametrize(("library", "name", "setting"), CASES)
@pytest.mark.filterwarnings("error")
def test_compiled_steps(library: str, name: str, setting: str, on: str) -> None:
    """A warning is an error here, that of a fallback too."""
    backend = require(on)
    start, stream = start_of("float64", 1.0), gradients_of("float64", SHORT)
    tx = RUNS[library].build(name, setting, EARLY)
    expected = trajectory(tx, start, stream, require("numpy"))
    params = uniopt.tree.map(backend.from_numpy, start)
    state, step, found = tx.init(params), uniopt.compile(tx, donate=False), [uniopt.tree.leaves(start)]
    for gradient in stream:
        params, state = step(uniopt.tree.map(backend.from_numpy, gradient), state, params)
        found.append([np.array(backend.to_numpy(x)) for x in uniopt.tree.leaves(params)])
    assert relative(found, expected).value <= 1e-12


@pytest.mark.parametrize(("library", "name", "setting"), CASES)
def test_transformations_are_values(library: str, name: str, setting: str) -> None:
    tx = RUNS[library].build(name, setting, 5)
    assert pickle.loads(pickle.dumps(tx)) == tx == RUNS[library].build(name, setting, 5)
    assert tx != RUNS[library].build(name, setting, 6) or name == "Adafactor"  # which ignores mlx's by default


@pytest.mark.parametrize(
    ("library", "name", "setting"), [case for case in ONE_EACH if case[:2] != ("mlx", "Adafactor")]
)
def test_learning_rates_may_be_numbers_and_arrays(library: str, name: str, setting: str) -> None:
    start, stream = start_of("float64", 1.0), gradients_of("float64", 3)
    make = getattr({"mlx": mlx_dialect, "keras": keras_dialect}[library], name)
    options = RUNS[library].SETTINGS[name][setting]
    walks = [
        trajectory(make(learning_rate=rate, **options), start, stream, require("numpy"))
        for rate in (0.125, np.asarray(0.125), uniopt.constant_schedule(0.125))
    ]
    assert relative(walks[1], walks[0]).value == 0.0
    assert relative(walks[2], walks[0]).value <= 1e-15


@pytest.mark.parametrize(
    ("name", "hyper"), [("Adam", {"betas": 0.9}), ("Lion", {"betas": [0.9]}), ("Adafactor", {"eps": 1})]
)
def test_mlx_asks_for_two(name: str, hyper: dict[str, Any]) -> None:
    with pytest.raises(HyperparameterError, match=r"(betas|eps) is .*, expected a tuple of two"):
        getattr(mlx_dialect, name)(0.1, **hyper)


@pytest.mark.parametrize("name", [name for name in mlx_runs.SETTINGS if name != "Adafactor"])
def test_mlx_asks_for_a_learning_rate(name: str) -> None:
    with pytest.raises(HyperparameterError, match="learning_rate is None"):
        getattr(mlx_dialect, name)(None)


def parameters(f: Any) -> list[tuple[str, Any]]:
    """Return the names and defaults of the parameters that can be given by position."""
    return [
        (p.name, tuple(p.default) if isinstance(p.default, list) else p.default)
        for p in inspect.signature(f).parameters.values()
        if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]


@pytest.mark.parametrize("name", mlx_runs.SETTINGS)
def test_parameters_are_those_of_mlx(name: str) -> None:
    assert parameters(getattr(mlx_dialect, name)) == parameters(getattr(mlx.optimizers, name))


@pytest.mark.parametrize("name", keras_runs.SETTINGS)
def test_parameters_are_those_of_keras(name: str) -> None:
    assert parameters(getattr(keras_dialect, name)) == parameters(getattr(keras.optimizers, name))


def test_nothing_is_left_out() -> None:
    def classes(module: Any, base: type, without: set[str]) -> set[str]:
        return {name for name, x in vars(module).items() if inspect.isclass(x) and issubclass(x, base)} - without

    apart = {"Optimizer", "MultiOptimizer", "LossScaleOptimizer"}
    assert classes(mlx.optimizers, mlx.optimizers.Optimizer, apart) == set(mlx_runs.SETTINGS)
    assert classes(keras.optimizers, keras.optimizers.Optimizer, apart) == set(keras_runs.SETTINGS)


@pytest.mark.wide
def test_keras_on_jax() -> None:
    """keras writes some formulas once more for torch."""
    chosen = "test_float64 and keras and others and normal"  # others take minutes to compile
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
