"""Trees of other shapes than a dict of arrays: None, empty arrays, tuples, scalars with an axis more."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras.optimizers as k
import mlx.optimizers as m
import numpy as np
import optax
import pytest

import uniopt
from tests.conftest import float64
from tests.porting.frameworks import there_and_back
from tests.porting.runs import Named, TorchRun, error, gradients_of, optax_run, start_of, uniopt_run
from uniopt import porting
from uniopt.errors import PortingError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2

STEPS = 5
SHAPES = {"weight": (6, 4), "gain": (), "none": (0, 3), "bias": (6,)}


def split(named: Named) -> Any:
    """Return a tree in which arrays are split, as those of an attention are into queries, keys and values."""
    first, *others = np.split(named["weight"], 3)
    gain = {"gain": named["gain"], "none": named["none"]}
    return {**gain, "first": first.T, "others": tuple(others), "halves": np.split(named["bias"], 2)}


class Layer(NamedTuple):
    kernel: Any
    bias: Any = None


def nested(named: Named) -> Any:
    """Return a tree with places for what this model does not have, as modules of equinox have them."""
    layer = Layer(named["weight"].T)
    return (layer, [named["gain"].reshape(1), None, {"none": named["none"].T}], (), {"b": named["bias"].reshape(2, 3)})


MAKES = {
    "torch Adam": ("torch", ("Adam", {"lr": 0.1})),
    "torch NAdam": ("torch", ("NAdam", {"lr": 0.1})),
    "torch ASGD": ("torch", ("ASGD", {"lr": 0.1, "t0": 2})),
    "torch SGD": ("torch", ("SGD", {"lr": 0.1, "momentum": 0.5, "dampening": 0.25})),
    "mlx": ("mlx", lambda: m.SGD(0.125, momentum=0.5)),
    "keras": ("keras", lambda: k.SGD(0.125, momentum=0.5)),
}


@pytest.mark.parametrize("convert", [nested, split])
@pytest.mark.parametrize("name", MAKES)
def test_convert_may_make_any_tree(name: str, convert: Any) -> None:
    side, make = MAKES[name]
    start, stream = start_of("float64", SHAPES), gradients_of("float64", 3 * STEPS, SHAPES)
    assert there_and_back(side, make, start, stream, convert) <= 256


def test_optax_with_parameters_that_are_none() -> None:
    start = {"w": np.ones((2, 3)), "none": None, "late": np.ones(2)}
    stream = [{**start, "w": x, "late": x[0, :2]} for x in np.random.default_rng(0).standard_normal((10, 2, 3))]
    optimizer = optax.partition({"a": optax.adam(0.1), "b": optax.sgd(0.1, 0.5)}, {"w": "a", "none": None, "late": "b"})
    with float64("jax"):
        expected, _ = optax_run(optimizer, optimizer.init(start), start, stream)
        params, state = optax_run(optimizer, optimizer.init(start), start, stream[:5])
        tx, state = porting.from_optax(optimizer, state, params, "numpy")
        found, _ = uniopt_run(tx, state, params, stream[5:], "numpy")
        assert error(found, expected, start) <= 256
        back, state = porting.to_optax(tx, state, params)
        assert error(optax_run(back, state, params, stream[5:])[0], expected, start) <= 256


def test_a_parameter_that_is_none_is_in_no_group() -> None:
    start = {"weight": np.ones((2, 3)), "bias": None}
    tx = uniopt.dialects.torch.Adam(0.1)
    _, state = tx.update(start, tx.init(start), start)
    run = TorchRun("Adam", {"weight": start["weight"]}, {})
    porting.to_torch(tx, state, run.optimizer, run.named, lambda named: {**named, "bias": None})
    assert float(run.optimizer.state[run.named["weight"]]["step"]) == 1.0


def test_parts_of_an_array_that_are_optimized_differently_are_refused() -> None:
    start = start_of("float64", SHAPES)
    run = TorchRun("SGD", start, {"momentum": 0.5})
    tx = uniopt.partition(
        {"a": uniopt.sgd(0.1, 0.5), "b": uniopt.sgd(0.1, 0.5)},
        lambda p: {**dict.fromkeys(p, "a"), "halves": ["a", "b"]},
    )
    state = tx.init(split(start))
    porting.to_torch(tx, state, run.optimizer, run.named, split)
    tx = uniopt.dialects.torch.Adam()
    _, state = tx.update({**split(start), "halves": [np.ones(3), None]}, tx.init(split(start)))
    run = TorchRun("Adam", start, {})
    with pytest.raises(
        PortingError, match=r"'halves'\]\[0\] and .*'halves'\]\[1\] have parts of the same array.* steps"
    ):
        porting.to_torch(tx, state, run.optimizer, run.named, split)


def test_an_empty_array_of_no_parameter_is_refused() -> None:
    run = TorchRun("Adam", start_of("float64", SHAPES), {})
    with pytest.raises(PortingError, match=r"an empty array at .* that is no parameter"):
        porting.from_torch(run.optimizer, run.named, convert=lambda named: {**named, "more": np.zeros(0)})
