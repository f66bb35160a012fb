"""The dialect of torch, over 50 steps on every library, against torch's own optimizers."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import uniopt
from tests.conftest import float64, require
from tests.dialects.torch_runs import CASES, SETTINGS, build, falling, gradients_of, of_torch, start_of, without_some
from tests.properties.error_unit import relative, ulps
from tests.properties.problems import trajectory
from uniopt.dialects import torch as dialect
from uniopt.errors import HyperparameterError, ShapeError, UnsupportedDtypeError

STEPS, CHANGE = 50, 20
ONE_EACH = [(name, list(settings)[-1]) for name, settings in SETTINGS.items()]
COUNTING = ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adafactor", "ASGD"]

# What was measured, rounded up: now and then two orders of addition round to neighbours in bfloat16.
IN_FLOAT64 = {"Muon": 1e-3}
IN_FLOAT32 = {"Muon": 64.0}


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["normal", "zeros"])
@pytest.mark.parametrize(("name", "setting"), CASES)
def test_float64(name: str, setting: str, scale: float) -> None:
    start, stream = start_of(name, "float64", scale), gradients_of(name, "float64", STEPS)
    expected = of_torch(name, setting, start, stream, CHANGE)
    found = trajectory(build(name, setting, **falling(name, setting, CHANGE)), start, stream, require("numpy"))
    assert relative(found, expected).value <= IN_FLOAT64.get(name, 1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["normal", "zeros"])
@pytest.mark.parametrize(("name", "setting"), CASES)
def test_float32(name: str, setting: str, scale: float) -> None:
    start, stream = start_of(name, "float32", scale), gradients_of(name, "float32", STEPS)
    expected = of_torch(name, setting, start, stream, CHANGE)
    found = trajectory(build(name, setting, **falling(name, setting, CHANGE)), start, stream, require("numpy"))
    assert ulps(found, expected).value <= IN_FLOAT32.get(name, 8.0)


LIBRARIES = [
    pytest.param(library, marks=pytest.mark.wide if library == "dask" else ())
    for library in ("torch", "mlx", "array_api_strict", "dask")
]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "setting"), ONE_EACH)
def test_every_library(name: str, setting: str, library: str) -> None:
    start, stream = start_of(name, "float64", 1.0), gradients_of(name, "float64", 12)
    expected = of_torch(name, setting, start, stream, 5)
    tx, backend = build(name, setting, **falling(name, setting, 5)), require(library)
    if name == "Muon" and "bfloat16" not in backend.dtypes():
        with pytest.raises(UnsupportedDtypeError, match="bfloat16"):
            trajectory(tx, start, stream, backend)
        return
    found = trajectory(tx, start, stream, backend)
    assert relative(found, expected).value <= IN_FLOAT64.get(name, 1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", pytest.param("mlx", marks=pytest.mark.wide)])
@pytest.mark.parametrize(("name", "setting"), ONE_EACH)
@pytest.mark.filterwarnings("error")
def test_compiled_steps(name: str, setting: str, library: str) -> None:
    """A warning is an error here, that of a fallback too."""
    backend = require(library)
    start, stream = start_of(name, "float64", 1.0), gradients_of(name, "float64", 12)
    expected = of_torch(name, setting, start, stream, 5)
    tx = build(name, setting, **falling(name, setting, 5))
    with float64(library):
        params = uniopt.tree.map(backend.from_numpy, start)
        state, step = tx.init(params), uniopt.compile(tx, donate=False)
        found = [uniopt.tree.leaves(start)]
        for gradient in stream:
            params, state = step(uniopt.tree.map(backend.from_numpy, gradient), state, params)
            found.append([np.array(backend.to_numpy(x)) for x in uniopt.tree.leaves(params)])
    assert relative(found, expected).value <= IN_FLOAT64.get(name, 1e-12)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_leaf_without_gradient_takes_no_step(name: str) -> None:
    """Some leaves come late or pause, and the learning rate falls meanwhile."""
    setting = list(SETTINGS[name])[-1]
    start, stream = start_of(name, "float64", 1.0), gradients_of(name, "float64", 12)
    stream = without_some(stream)
    expected = of_torch(name, setting, start, stream, 7)
    found = trajectory(build(name, setting, **falling(name, setting, 7)), start, stream, require("numpy"))
    assert relative(found, expected).value <= IN_FLOAT64.get(name, 1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", COUNTING)
def test_a_compiled_step_counts_a_leaf_without_gradient_as_little(name: str, library: str) -> None:
    """Also where nothing reads the count."""
    backend = require(library)
    start, stream = start_of(name, "float64", 1.0), gradients_of(name, "float64", 12)
    tx = build(name, "default")
    params = uniopt.tree.map(backend.from_numpy, start)
    state, step = tx.init(params), uniopt.compile(tx, donate=False)
    for gradient in without_some(stream):
        params, state = step(uniopt.tree.map(backend.from_numpy, gradient), state, params)
    late, *rest = uniopt.tree.leaves(state.counts)
    assert (int(late), {int(x) for x in rest}) == (9, {11})


@pytest.mark.parametrize("name", COUNTING)
def test_counting_all_leaves_together_is_something_else(name: str) -> None:
    """So the test above can tell."""
    setting = list(SETTINGS[name])[-1]
    start, stream = start_of(name, "float64", 1.0), gradients_of(name, "float64", 6)
    stream = [{**g, "dense": None} if n < 3 else g for n, g in enumerate(stream)]
    tx = build(name, setting)
    together = uniopt.transformation.transformation(uniopt.transformation.stage_of(tx).inner)
    walks = [trajectory(x, start, stream, require("numpy")) for x in (tx, together)]
    assert relative(*walks).value > 1e-6


@pytest.mark.parametrize("name", SETTINGS)
def test_parameters_are_those_of_torch(name: str) -> None:
    theirs = list(inspect.signature(getattr(torch.optim, name)).parameters.values())[1:]
    ours = list(inspect.signature(getattr(dialect, name)).parameters.values())
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


def test_nothing_is_left_out() -> None:
    theirs = {
        name for name, x in vars(torch.optim).items() if inspect.isclass(x) and issubclass(x, torch.optim.Optimizer)
    }
    assert theirs - {"Optimizer", "LBFGS", "SparseAdam"} == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_flags_of_speed_change_nothing(name: str) -> None:
    make = getattr(dialect, name)
    flags = {"foreach", "fused", "capturable", "differentiable"} & inspect.signature(make).parameters.keys()
    assert make(**dict.fromkeys(flags, True)) == make()


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_transformations_are_values(name: str, setting: str) -> None:
    tx = build(name, setting)
    assert pickle.loads(pickle.dumps(tx)) == tx == build(name, setting)
    assert repr(tx) == repr(build(name, setting))


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "Muon"])
def test_learning_rates_may_be_arrays(name: str) -> None:
    start, stream = start_of(name, "float64", 1.0), gradients_of(name, "float64", 3)
    by_number, by_array = (
        trajectory(build(name, "default", lr=lr), start, stream, require("numpy")) for lr in (0.125, np.asarray(0.125))
    )
    assert relative(by_array, by_number).value == 0.0


@pytest.mark.parametrize(
    ("name", "hyper", "words"),
    [
        ("Adam", {"betas": (1.5, 0.9)}, "betas[0] is 1.5"),
        ("Adam", {"betas": 0.9}, "betas is 0.9, expected a tuple of two"),
        ("Adam", {"betas": (0.9, 0.99, 0.999)}, "betas is (0.9, 0.99, 0.999), expected a tuple of two"),
        ("Adam", {"lr": -1.0}, "lr is -1.0"),
        ("AdamW", {"weight_decay": -0.1}, "weight_decay is -0.1"),
        ("NAdam", {"momentum_decay": -1.0}, "momentum_decay is -1.0"),
        ("SGD", {"nesterov": True}, "nesterov is True with momentum=0"),
        ("SGD", {"momentum": 0.5, "dampening": 0.5, "nesterov": True}, "dampening=0.5"),
        ("RMSprop", {"alpha": 1.0}, "alpha is 1.0"),
        ("Rprop", {"lr": uniopt.constant_schedule(0.1)}, "lr is "),
        ("Rprop", {"etas": (0.5, 0.5)}, "etas[1] is 0.5"),
        ("Rprop", {"step_sizes": 50.0}, "step_sizes is 50.0, expected a tuple of two"),
        ("Adafactor", {"eps": 1e-3}, "eps is 0.001, expected a tuple of two"),
        ("Adafactor", {"beta2_decay": 0.8}, "beta2_decay is 0.8"),
        ("Adagrad", {"lr_decay": -1.0}, "lr_decay is -1.0"),
        ("Muon", {"adjust_lr_fn": "other"}, "adjust_lr_fn is 'other'"),
    ],
)
def test_wrong_numbers_are_named_as_torch_names_them(name: str, hyper: dict[str, Any], words: str) -> None:
    with pytest.raises(HyperparameterError) as found:
        getattr(dialect, name)(**hyper)
    assert words in str(found.value)


def test_muon_takes_matrices_alone() -> None:
    params = {"w": np.ones((2, 2)), "b": np.ones(2)}
    tx = dialect.Muon()
    with pytest.raises(ShapeError, match=r"params\['b'\] has shape \(2,\)"):
        tx.update(params, tx.init(params), params)
