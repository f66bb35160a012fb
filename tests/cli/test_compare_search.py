"""The call of one dialect that computes what a call of another does."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from tests.dialects import keras_runs, mlx_runs, torch_runs
from uniopt.cli.compare import search
from uniopt.cli.compare.calls import Call, read
from uniopt.cli.compare.comparison import Comparison, compare

SETTINGS: dict[str, Any] = {"torch": torch_runs, "mlx": mlx_runs, "keras": keras_runs}


def compared(first: str, second: str) -> Comparison:
    return compare(read(first), read(second), "numpy", "float64", 12)


@pytest.mark.parametrize(
    ("first", "second", "call"),
    [
        ("torch.RMSprop(lr=1e-2)", "optax.rmsprop(1e-2)", "optax.rmsprop(0.01, decay=0.99, eps_in_sqrt=False)"),
        ("torch.Adam()", "mlx.Adam(1e-3)", "mlx.Adam(0.001, bias_correction=True)"),
        ("torch.Adam(betas=(0.8, 0.9))", "optax.adam(1.0)", "optax.adam(0.001, b1=0.8, b2=0.9)"),
        ("optax.adam(0.1, b1=0.5)", "torch.Adam()", "torch.Adam(lr=0.1, betas=(0.5, 0.999))"),
        ("keras.Adam(epsilon=0.0)", "torch.Adam()", "torch.Adam(eps=0.0)"),
        ("torch.AdamW(eps=0.0)", "keras.AdamW()", "keras.AdamW(weight_decay=0.01, epsilon=0.0)"),
        ("torch.AdamW()", "optax.adamw(1e-3)", "optax.adamw(0.001, weight_decay=0.01)"),
        ("torch.AdamW()", "optax.adam(1e-3)", "optax.adamw(learning_rate=0.001, weight_decay=0.01)"),
        ("mlx.Lion(0.1, weight_decay=0.2)", "keras.Lion()", "keras.Lion(learning_rate=0.1, weight_decay=0.2)"),
        ("torch.SGD(0.1, weight_decay=0.5)", "mlx.SGD(1.0)", "mlx.SGD(0.1, weight_decay=0.5)"),
        ("mlx.SGD(0.5, 0.75, dampening=0.25)", "torch.SGD(0.5, 0.75, 0.5)", "torch.SGD(0.375, 0.75, 0.0)"),
        ("mlx.SGD(0.5, 0.75, dampening=0.25)", "optax.sgd(0.5, 0.75)", "optax.sgd(0.375, 0.75)"),
        ("torch.Adagrad()", "mlx.Adagrad(0.1)", "mlx.Adagrad(0.01, eps=1e-10)"),
        (
            "torch.Adagrad(eps=0.0)",
            "keras.Adagrad()",
            "keras.Adagrad(learning_rate=0.01, initial_accumulator_value=0.0, epsilon=0.0)",
        ),
        ("mlx.Adafactor()", "keras.Adafactor()", "keras.Adafactor(learning_rate=0.01)"),
        (
            "keras.RMSprop(momentum=0.9, centered=True)",
            "optax.rmsprop(0.1)",
            "optax.rmsprop(0.001, eps=1e-07, centered=True, momentum=0.9)",
        ),
        ("keras.SGD(0.1, momentum=0.9)", "torch.SGD()", "torch.SGD(lr=0.1, momentum=0.9)"),
        ("keras.Nadam()", "torch.NAdam()", "torch.NAdam(lr=0.001, eps=1e-07, momentum_decay=1.0)"),
        ("optax.nadam(1e-3)", "torch.NAdam()", "torch.NAdam(lr=0.001, momentum_decay=1000.0)"),
        ("torch.NAdam(momentum_decay=1e4)", "optax.nadam(1e-3)", "optax.nadam(0.002)"),
        ("keras.Lamb()", "optax.adam(1e-3)", "optax.lamb(learning_rate=0.001, eps=1e-07)"),
        (
            "optax.sgd(exponential_decay(0.1, 10, 0.5))",
            "torch.SGD()",
            "torch.SGD(lr=exponential_decay(init_value=0.1, transition_steps=10, decay_rate=0.5, "
            "transition_begin=0, staircase=False, end_value=None))",
        ),
        ("torch.Adam(amsgrad=True, eps=0.0)", "keras.Adam()", "keras.Adam(epsilon=0.0, amsgrad=True)"),
    ],
)
def test_the_call_that_makes_the_second_equal_the_first(first: str, second: str, call: str) -> None:
    found = compared(first, second)
    assert not found.both.confirmed
    assert found.switches
    assert found.nearest is not None
    assert str(found.nearest.call) == call
    assert found.nearest.confirmed
    assert not found.obstacles
    assert max(x.ulp for x in found.nearest.apart if x.step is None) < 50


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("torch.RMSprop(lr=1e-2)", "optax.rmsprop(1e-2)"),
        ("torch.AdamW(weight_decay=0.5)", "optax.adamw(1e-3)"),
        ("torch.Adadelta(rho=0.5, weight_decay=0.5)", "optax.adadelta(0.5)"),
        ("torch.SGD(0.125, 0.75, nesterov=True)", "optax.sgd(0.5)"),
    ],
)
@pytest.mark.usefixtures("x64")
def test_the_frameworks_themselves_agree_with_what_is_found(first: str, second: str) -> None:
    found = compared(first, second).nearest
    assert found is not None
    assert found.confirmed
    start, stream = np.linspace(-1.0, 1.0, 5), np.random.default_rng(3).standard_normal((10, 5))
    parameter = torch.from_numpy(start.copy()).requires_grad_()
    optimizer = getattr(torch.optim, found.wanted.name)([parameter], **found.wanted.arguments)
    tx = eval(str(found.call), {"optax": optax})
    params = jnp.asarray(start)
    state = tx.init(params)
    for gradient in stream:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        updates, state = tx.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(np.asarray(params), parameter.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "nearest", "obstacles"),
    [
        (
            "keras.Adam()",
            "torch.Adam()",
            "torch.Adam(eps=1e-07)",
            {"scale_by_adam.eps_before_correction": (True, False)},
        ),
        (
            "torch.SGD(0.1, 0.9, 0.5)",
            "mlx.SGD(0.1)",
            "mlx.SGD(0.1, momentum=0.9, dampening=0.5)",
            {"trace.undampened_first_step": (True, False)},
        ),
        (
            "torch.Adam(weight_decay=0.1)",
            "optax.adam(1e-3)",
            "optax.adamw(learning_rate=0.001, weight_decay=0.1)",
            {
                "order": (
                    ("add_decayed_weights", "scale_by_adam", "scale_by_learning_rate"),
                    ("scale_by_adam", "add_decayed_weights", "scale_by_learning_rate"),
                )
            },
        ),
        (
            "torch.Adam(amsgrad=True)",
            "optax.amsgrad(1e-3)",
            "optax.amsgrad(0.001, bias_correction_nu=False)",
            {"scale_by_amsgrad.bias_correction_nu_max": (True, False)},
        ),
        (
            "torch.Adagrad()",
            "optax.adagrad(0.01)",
            "optax.adagrad(0.01, initial_accumulator_value=0.0, eps=1e-10)",
            {"scale_by_rss.eps_in_sqrt": (False, True)},
        ),
        ("optax.rprop(0.1)", "torch.Rprop(0.1)", "torch.Rprop(0.1)", {"scale_by_rprop.one_step_late": (True, False)}),
    ],
)
def test_what_no_argument_sets(first: str, second: str, nearest: str, obstacles: dict[str, tuple[Any, Any]]) -> None:
    found = compared(first, second)
    assert found.nearest is not None
    assert str(found.nearest.call) == nearest
    assert not found.nearest.confirmed
    assert {name: pair for name, pair in found.obstacles.items() if name in obstacles} == obstacles
    assert len(found.obstacles) <= len(obstacles) + 1


def test_an_epsilon_of_0_is_proposed() -> None:
    found = compared("torch.Adagrad()", "optax.adagrad(0.1)").without_epsilon
    assert found is not None
    assert found.confirmed
    assert str(found.wanted) == "torch.Adagrad(eps=0.0)"
    assert str(found.call) == "optax.adagrad(0.01, initial_accumulator_value=0.0, eps=0.0)"
    assert compared("torch.SGD(0.1, 0.9, 0.5)", "mlx.SGD(0.1)").without_epsilon is None


@pytest.mark.parametrize(
    ("dialect", "name", "setting"), [(dialect, *case) for dialect, runs in SETTINGS.items() for case in runs.CASES]
)
def test_every_call_of_a_dialect_is_found_from_the_default_one(dialect: str, name: str, setting: str) -> None:
    """What is looked for can be had, so not finding it is a fault of the search."""
    options = SETTINGS[dialect].SETTINGS[name][setting]
    plain = Call(dialect, name, {})
    required = "learning_rate" if dialect == "mlx" and name != "Adafactor" else None
    begun = plain.but(learning_rate=0.5) if required else plain
    wanted = begun.but(**options)
    found, apart = search.nearest(wanted, begun)
    assert apart == 0, found
