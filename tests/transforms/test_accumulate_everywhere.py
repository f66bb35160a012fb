"""Accumulation of numbers of every kind, where it is traced, and with gradients missing."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import host, moved, settled
from tests.transforms.test_accumulate import F, equal, walk


def test_conditions_by_any_kind_of_bool(backend: Backend) -> None:
    params = backend.from_numpy(np.ones(2, F))
    for value in (True, np.True_, backend.asarray(0, dtype=backend.xp.int32) == 0):
        tx = uniopt.conditionally_mask(uniopt.scale(2.0), lambda n, value=value: value)
        updates, _ = tx.update(params, tx.init(params))
        np.testing.assert_array_equal(backend.to_numpy(updates), [2.0, 2.0])


def test_half_precision_is_accumulated_in_float32(backend: Backend) -> None:
    if "float16" not in backend.dtypes():
        pytest.skip(f"{backend.name} has no float16")
    params = backend.from_numpy(np.ones(2, np.float16))
    tx = uniopt.MultiSteps(uniopt.scale(1.0), 4, use_grad_mean=False)
    state = tx.init(params)
    for x in (2048.0, 1.0, 1.0, 1.0):  # 2049 is no float16
        updates, state = tx.update(backend.from_numpy(np.full(2, x, np.float16)), state, params)
    np.testing.assert_array_equal(backend.to_numpy(updates), np.float16(2051.0))
    assert backend.to_numpy(updates).dtype == np.float16
    assert str(state.acc_grads.dtype).endswith("float32")


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_complex_gradients(name: str) -> None:
    backend = require(name)
    z = np.asarray([1 + 2j, 3 - 1j], np.complex64)
    for skip in (uniopt.skip_not_finite, partial(uniopt.skip_large_updates, max_squared_norm=200.0)):
        tx = uniopt.MultiSteps(uniopt.sgd(1.0), 2, should_skip_update_fn=skip)
        seen, _, _ = walk(tx, [z, z * np.nan, 3 * z], backend, z)
        np.testing.assert_allclose(seen[2], -2 * z, rtol=1e-6)
        assert not seen[1].any()


def test_torch_traces_and_batches_them() -> None:
    import torch
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()

    tx = uniopt.chain(
        uniopt.dynamic_loss_scaling(
            uniopt.MultiSteps(uniopt.adam(0.1), 2, should_skip_update_fn=uniopt.skip_not_finite)
        ),
        uniopt.reduce_on_plateau(),
    )
    params = torch.ones(3)

    def step(grads: Any, state: Any, params: Any, value: Any) -> Any:
        return tx.update(grads, state, params, value=value)

    counter = CompileCounter()
    traced = torch.compile(step, fullgraph=True, backend=counter)
    state, same = tx.init(params), tx.init(params)
    for k in range(5):
        grads = 2.0**16 * torch.tensor([1.0, float("nan") if k == 2 else 2.0, 3.0])
        found, state = traced(grads, state, params, torch.tensor(1.0))
        expected, same = step(grads, same, params, torch.tensor(1.0))
        equal((found, state), (expected, same))
    assert counter.frame_count == 1
    batch = torch.stack([params, 2 * params])
    state = torch.vmap(tx.init)(batch)
    bad = torch.stack([params, params * float("nan")]) * 2.0**16
    _, state = torch.vmap(step, in_dims=(0, 0, 0, None))(bad, state, batch, torch.tensor(1.0))
    np.testing.assert_array_equal(state[0].last_finite, [True, False])
    np.testing.assert_array_equal(state[0].inner_state.mini_step, [1, 0])


def test_jax_scans_and_batches_them() -> None:
    import jax

    tx = uniopt.MultiSteps(uniopt.adam(0.1), 2, should_skip_update_fn=uniopt.skip_not_finite)
    params = jax.numpy.ones(3)
    grads = jax.numpy.asarray([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0]])

    def body(state: Any, g: Any) -> Any:
        updates, state = tx.update(g, state, params)
        return state, updates

    _, seen = jax.lax.scan(body, tx.init(params), grads)
    np.testing.assert_allclose(seen[2], -0.1, rtol=1e-4)
    assert not np.asarray(seen)[[0, 1, 3]].any()
    batched = jax.vmap(tx.update, in_axes=(0, None, None))(grads, tx.init(params), params)[1]
    np.testing.assert_array_equal(batched.mini_step, [1, 0, 1, 1])


def test_a_gradient_that_is_missing_when_the_mean_is_handed_on(backend: Backend) -> None:
    """What has been accumulated is kept: a sum goes on, and a mean begins again, also after NaN."""
    params = moved({"w": np.ones(2, F), "b": np.ones(2, F)}, backend)
    one, two, nan = (moved(np.full(2, x, F), backend) for x in (1.0, 2.0, np.nan))
    for mean, b, expected in ((True, one, -3.0), (True, nan, -3.0), (False, one, -7.0)):
        tx = uniopt.MultiSteps(uniopt.sgd(1.0), 2, use_grad_mean=mean)
        state = tx.init(params)
        seen = []
        for grads in (
            {"w": one, "b": b},
            {"w": one, "b": None},
            {"w": one, "b": two},
            {"w": one, "b": two + two},
            {"w": one, "b": two},
        ):
            updates, state = settled(tx.update(grads, state, params), backend)
            seen.append(host(updates, backend))
        assert seen[1]["b"] is None
        np.testing.assert_array_equal(seen[1]["w"], -1.0 if mean else -2.0)
        np.testing.assert_array_equal(seen[2]["b"], 0.0)
        np.testing.assert_array_equal(seen[3]["b"], expected)
        np.testing.assert_array_equal(backend.to_numpy(state.acc_grads["b"]), 2.0)
