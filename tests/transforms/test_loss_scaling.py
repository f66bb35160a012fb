"""Dynamic loss scales: the numbers of torch's GradScaler, steps that are left out, and a float16 network."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import EVERYWHERE, require
from tests.properties.problems import gradients, host, moved, parameters, settled, small_tree
from tests.shown import SHOWN
from uniopt.errors import HyperparameterError, MissingArgumentError, ShapeError, StateError

F = np.float32
POISONED = (0, 1, 5, 9)
SETTINGS: list[dict[str, Any]] = [
    {"growth_interval": 3},
    {"init_scale": 2.0**126, "growth_interval": 1},  # grows as far as float32 goes
    {"init_scale": 3.0, "growth_factor": 1.5, "backoff_factor": 0.25, "growth_interval": 2},
]


def poisoned(steps: int) -> list[Any]:
    stream = gradients(1, steps, F, small_tree)
    for k in (k for k in POISONED if k < steps):
        stream[k]["w"][0, 1] = (np.inf, np.nan)[k % 2]
    return stream


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_scales_and_steps_are_those_of_torch(settings: dict[str, Any]) -> None:
    stream, start = poisoned(12), parameters(2, F, tree=small_tree)
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in uniopt.tree.leaves(start)]
    optimizer = torch.optim.Adam(theirs, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", **settings)
    tx = uniopt.dynamic_loss_scaling(uniopt.adam(0.1), **settings)
    params, state = start, tx.init(start)
    for grads in stream:
        scale = scaler.scale(torch.ones(())).item()
        assert float(uniopt.loss_scale(state)) == scale
        with np.errstate(over="ignore"):
            scaled = uniopt.tree.map(lambda g, scale=scale: np.asarray(g * F(scale)), grads)
        for p, g in zip(theirs, uniopt.tree.leaves(scaled), strict=True):
            p.grad = torch.tensor(g)
        scaler.step(optimizer)
        scaler.update()
        updates, state = tx.update(scaled, state, params)
        params = uniopt.apply_updates(params, updates)
        kept = scaler.state_dict()
        assert float(uniopt.loss_scale(state)) == kept["scale"]
        assert int(state.growth_tracker) == kept["_growth_tracker"]
        for p, x in zip(theirs, uniopt.tree.leaves(params), strict=True):
            np.testing.assert_allclose(x, p.detach().numpy(), rtol=1e-5, atol=1e-6)
    steps = optimizer.state[theirs[0]]["step"].item()
    assert int(state.inner_state[0].count) == steps
    assert int(state.total_notfinite) == len(stream) - steps


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # on Dask, both sides are computed
def test_a_step_that_is_left_out_changes_the_scale_alone(backend: Backend) -> None:
    params = moved(parameters(3, F, tree=small_tree), backend)
    tx = uniopt.dynamic_loss_scaling(uniopt.adam(0.1), init_scale=8.0)
    _, state = settled(tx.update(params, tx.init(params), params), backend)
    grads = moved(poisoned(10)[1], backend)
    updates, after = tx.update(grads, state, params)
    assert not any(x.any() for x in uniopt.tree.leaves(host(updates, backend)))
    inner = [uniopt.tree.leaves(host(x.inner_state, backend)) for x in (after, state)]
    for x, y in zip(*inner, strict=True):
        np.testing.assert_array_equal(x, y)
    found = host(after, backend)
    assert (float(found.scale), int(found.growth_tracker), bool(found.last_finite), int(found.total_notfinite)) == (
        4.0, 0, False, 1,
    )  # fmt: skip
    found = host(state, backend)
    assert (float(found.scale), int(found.growth_tracker), bool(found.last_finite), int(found.total_notfinite)) == (
        8.0, 1, True, 0,
    )  # fmt: skip


def test_the_scale_never_falls_to_zero(backend: Backend) -> None:
    params = backend.from_numpy(np.ones(2, F))
    tx = uniopt.dynamic_loss_scaling(uniopt.sgd(1.0), init_scale=2.0**-120, backoff_factor=2.0**-10)
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(params * float("nan"), state, params)
    assert float(uniopt.loss_scale(state)) == 2.0**-126
    updates, _ = tx.update(params * 2.0**-126, state, params)
    np.testing.assert_array_equal(backend.to_numpy(updates), -1.0)


def test_float16_trains_where_it_would_stand_still() -> None:
    """Gradients of 2**-26 are 0 in float16. Scaled, they are not; and the scale is taken out in float32."""
    params = torch.ones(4, dtype=torch.float16)

    def grads(scale: Any) -> Any:
        x = params.clone().requires_grad_()
        ((x.float() * 2.0**-26).sum() * scale).backward()
        return x.grad

    assert not grads(torch.tensor(1.0)).any()
    tx = uniopt.dynamic_loss_scaling(uniopt.sgd(2.0**20))
    state = tx.init(params)
    updates, state = tx.update(grads(uniopt.loss_scale(state)), state, params)
    assert updates.dtype == torch.float16
    np.testing.assert_array_equal(updates, -(2.0**-6))


@pytest.mark.parametrize(
    "name",  # MLX's compiler takes half a minute for both sides of the conditions
    [pytest.param(name, marks=pytest.mark.wide if name == "mlx" else ()) for name in EVERYWHERE],
)
def test_compiled_steps_scale_too(name: str) -> None:
    backend = require(name)
    start, stream = parameters(4, F, tree=small_tree), poisoned(6)
    scaled = uniopt.dynamic_loss_scaling(uniopt.adam(0.1), growth_interval=2)
    tx = uniopt.chain(scaled, uniopt.reduce_on_plateau(0.5, 1))
    compiled, params = uniopt.compile(tx), moved(start, backend)
    state, plain_params, plain = tx.init(params), moved(start, backend), tx.init(moved(start, backend))
    for grads in stream if backend.name != "dask" else stream[2:5]:  # of what is not finite, NumPy warns
        params, state = settled(compiled(moved(grads, backend), state, params, value=1.0), backend)
        updates, plain = tx.update(moved(grads, backend), plain, plain_params, value=1.0)
        plain_params, plain = settled((uniopt.apply_updates(plain_params, updates), plain), backend)
    for x, y in zip(
        uniopt.tree.leaves(host((params, state), backend)),
        uniopt.tree.leaves(host((plain_params, plain), backend)),
        strict=True,
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_it_is_a_value() -> None:
    for tx in (
        uniopt.dynamic_loss_scaling(uniopt.adam(0.1), growth_interval=5),
        uniopt.reduce_on_plateau(0.5, cooldown=3),
        uniopt.apply_every(4),
        uniopt.apply_if_finite(uniopt.sgd(0.1), 3),
    ):
        assert eval(repr(tx), dict(SHOWN)) == tx
        assert pickle.loads(pickle.dumps(tx)) == tx
    masked = uniopt.conditionally_mask(uniopt.sgd(0.1), bool, forward_extra_args=True)
    assert repr(masked).startswith("conditionally_mask(chain(")
    assert repr(masked).endswith(", bool, forward_extra_args=True)")
    assert pickle.loads(pickle.dumps(masked)) == masked
    assert masked != uniopt.conditionally_transform(uniopt.sgd(0.1), bool, forward_extra_args=True)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"init_scale": 0.0}, "init_scale is 0.0"),
        ({"growth_factor": 1.0}, "growth_factor is 1.0"),
        ({"backoff_factor": 1.0}, "backoff_factor is 1.0"),
        ({"backoff_factor": 0.0}, "backoff_factor is 0.0"),
        ({"growth_interval": 0}, "growth_interval is 0"),
    ],
)
def test_wrong_settings(settings: Any, text: str) -> None:
    with pytest.raises(HyperparameterError, match=text):
        uniopt.dynamic_loss_scaling(uniopt.sgd(0.1), **settings)
    with pytest.raises(StateError, match="loss_scale was given a state EmptyState"):
        uniopt.loss_scale(uniopt.EmptyState())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"factor": 0.0}, "factor is 0.0"),
        ({"factor": 1.0}, "factor is 1.0"),
        ({"patience": 0}, "patience is 0"),
        ({"rtol": -0.5}, "rtol is -0.5"),
        ({"rtol": 1.5}, "rtol is 1.5"),
        ({"atol": -0.5}, "atol is -0.5"),
        ({"rtol": 0.0}, "rtol and atol are both 0"),
        ({"cooldown": -1}, "cooldown is -1"),
        ({"accumulation_size": 0}, "accumulation_size is 0"),
        ({"min_scale": -1.0}, "min_scale is -1.0"),
    ],
)
def test_wrong_settings_of_a_plateau(settings: Any, text: str) -> None:
    with pytest.raises(HyperparameterError, match=text):
        uniopt.reduce_on_plateau(**settings)


def test_a_plateau_needs_one_value(backend: Backend) -> None:
    params = backend.from_numpy(np.ones(2, F))
    tx = uniopt.reduce_on_plateau()
    state = tx.init(params)
    with pytest.raises(MissingArgumentError, match="value"):
        tx.update(params, state, params)
    with pytest.raises(ShapeError, match=r"value has shape \(2,\)"):
        tx.update(params, state, params, value=params)
    for value in (1, 1.0, np.float32(1.0), np.asarray(1.0), backend.xp.sum(params) * 0.5):
        _, after = tx.update(params, state, params, value=value)
        assert float(after.best_value) == 1.0


def test_the_first_value_is_the_best_one_whatever_the_tolerance() -> None:
    params = np.ones(2)
    tx = uniopt.reduce_on_plateau(factor=0.5, patience=1, rtol=1.0)
    _, state = tx.update(params, tx.init(params), params, value=3.0)
    assert (float(state.best_value), float(state.scale)) == (3.0, 1.0)
