"""What keras gives all of its optimizers, where it needs more than a walk beside the real one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from uniopt.conformance.peers.keras import host, scalars_like

import uniopt
from tests.conftest import require
from tests.dialects.problems import gradients_of, start_of
from tests.properties.error_unit import relative
from tests.properties.problems import trajectory
from uniopt.dialects import keras as dialect
from uniopt.errors import HyperparameterError


def of_keras(optimizer: Any, start: dict[str, Any], stream: list[dict[str, Any]], names: list[str]) -> Any:
    """Return the leaves at the start and after each step of an optimizer, for variables of those names."""
    with scalars_like("float64"):
        variables = [
            keras.Variable(x.copy(), dtype="float64", name=name) for x, name in zip(start.values(), names, strict=True)
        ]
        path = [list(start.values())]
        for gradient in stream:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradient.values()], variables)
            path.append([host(x) for x in variables])
        return path


def problem(steps: int = 12) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(9)

    def draw() -> dict[str, Any]:
        return {
            "bias": rng.standard_normal(3),
            "embedding": rng.standard_normal((4, 3)),
            "kernel": rng.standard_normal((3, 5)),
        }

    return draw(), [draw() for _ in range(steps)]


NAMES = ["bias", "embedding", "kernel"]


def test_a_mask_excludes_from_the_decay() -> None:
    start, stream = problem()
    theirs = keras.optimizers.Lamb(learning_rate=0.125, weight_decay=0.5)
    theirs.exclude_from_weight_decay(var_names=["bias"])
    expected = of_keras(theirs, start, stream, NAMES)
    for mask in ({"bias": False, "embedding": True, "kernel": True}, uniopt.weight_decay_mask):
        ours = dialect.Lamb(learning_rate=0.125, weight_decay=0.5, weight_decay_mask=mask)
        assert relative(trajectory(ours, start, stream, require("numpy")), expected).value <= 1e-12


def test_a_mask_excludes_from_both_decays_of_muon() -> None:
    start, stream = problem()
    theirs = keras.optimizers.Muon(learning_rate=0.125, weight_decay=0.5, adam_weight_decay=0.25)
    theirs.exclude_from_weight_decay(var_names=["bias", "kernel"])
    expected = of_keras(theirs, start, stream, NAMES)
    ours = dialect.Muon(
        learning_rate=0.125,
        weight_decay=0.5,
        adam_weight_decay=0.25,
        weight_decay_mask={"bias": False, "embedding": True, "kernel": False},
    )
    assert (
        relative(trajectory(ours, start, stream, require("numpy")), expected).value <= 5e-7
    )  # keras holds the coefficients in float32


@pytest.mark.parametrize("steps", [4, 5, 6])
@pytest.mark.parametrize(
    "options",
    [
        {"use_ema": True, "ema_momentum": 0.75},
        {"use_ema": True, "ema_momentum": 0.75, "gradient_accumulation_steps": 3},
        {"use_ema": True, "ema_momentum": 0.75, "gradient_accumulation_steps": 2, "ema_overwrite_frequency": 2},
    ],
)
def test_the_average_is_what_keras_ends_with(options: dict[str, Any], steps: int) -> None:
    start, stream = problem(steps)
    theirs = keras.optimizers.SGD(learning_rate=0.125, momentum=0.5, **options)
    of_keras(theirs, start, stream, NAMES)
    tx = dialect.SGD(learning_rate=0.125, momentum=0.5, **options)
    params, state = start, tx.init(start)
    for gradient in stream:
        updates, state = tx.update(gradient, state, params)
        params = uniopt.apply_updates(params, updates)
    average = [host(x) for x in theirs._model_variables_moving_average]
    found = uniopt.tree.leaves(uniopt.averaged_params(state, params))
    for x, y in zip(found, average, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_embeddings_and_excluded_layers_are_no_matrices() -> None:
    start = {"Embedding_1": np.ones((2, 3)), "head": {"kernel": np.ones((2, 3)), "bias": np.ones(2)}}

    def count(**options: Any) -> int:
        state = dialect.Muon(weight_decay=None, **options).init(start)
        return len(uniopt.tree.leaves(state.inner_states["muon"].inner_state[0].mu))

    assert count() == 1
    assert count(exclude_embeddings=False) == 2
    assert count(exclude_layers=["head/kernel"]) == 0
    assert count(exclude_layers=["^kernel"]) == 1


def test_settings_that_switch_nothing_on() -> None:
    plain = dialect.SGD(0.5)
    off = {"clipnorm": 0.0, "gradient_accumulation_steps": 0, "ema_momentum": 0.5, "ema_overwrite_frequency": 3}
    assert dialect.SGD(0.5, name="sgd", **off) == plain
    assert dialect.SGD(0.5, weight_decay=None) == plain


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("SGD", {"clipnorm": 1.0, "clipvalue": 1.0}, "clipnorm and clipvalue are given, expected only one"),
        (
            "SGD",
            {"gradient_accumulation_steps": 1},
            "gradient_accumulation_steps is 1, expected an integer not below 2",
        ),
        ("SGD", {"use_ema": True, "ema_overwrite_frequency": -1}, "ema_overwrite_frequency is -1"),
        ("SGD", {"use_ema": True, "ema_momentum": 1.5}, "ema_momentum is 1.5"),
        ("SGD", {"momentum": 1.125}, r"momentum is 1.125, expected a number in \[0, 1\]"),
        ("SGD", {"loss_scale_factor": 0.0}, "loss_scale_factor is 0.0"),
        ("SGD", {"weight_decay": -1.0}, "weight_decay is -1.0"),
        ("SGD", {"weight_decay": 1.0, "weight_decay_mask": 3}, "weight_decay_mask is 3, expected True or False"),
        ("AdamW", {"weight_decay": None}, "weight_decay is None"),
        ("Adafactor", {"beta_2_decay": 0.5}, "beta_2_decay is 0.5"),
        ("Muon", {"exclude_layers": ["("]}, "exclude_layers has '\\('"),
        ("RMSprop", {"rho": 2.0}, "rho is 2.0"),
        ("ScheduleFreeAdamW", {"warmup_steps": -1}, "warmup_steps is -1"),
    ],
)
def test_wrong_hyperparameters(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(HyperparameterError, match=words):
        getattr(dialect, name)(**options)


def test_unknown_arguments() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'lr'"):
        dialect.SGD(lr=0.1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "mlx"])
def test_sixteen_bits(library: str, dtype: str) -> None:
    """What is computed beside the rules is computed in float32, and the parameters keep their dtype."""
    backend = require(library)
    start, stream = start_of("float32", 1.0), gradients_of("float32", 3)
    tx = dialect.SGD(0.125, 0.5, weight_decay=0.5, clipnorm=1.0, use_ema=True, ema_overwrite_frequency=2)
    params = uniopt.tree.map(lambda x: backend.from_numpy(x, dtype), start)
    state = tx.init(params)
    for gradient in stream:
        updates, state = tx.update(uniopt.tree.map(lambda x: backend.from_numpy(x, dtype), gradient), state, params)
        params = uniopt.apply_updates(params, updates)
    assert {str(x.dtype).rpartition(".")[2] for x in uniopt.tree.leaves(params)} == {dtype}
