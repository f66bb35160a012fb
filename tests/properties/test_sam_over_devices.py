"""Opaque `sam` where the batch is spread over a named axis: of `jax.vmap`, of `jax.pmap` or of `jax.shard_map`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import uniopt
from uniopt import errors

STEPS, DEVICES = 3, 4
BATCH = np.random.default_rng(5).normal(size=(DEVICES, 2, 3))


def start() -> Any:
    return {"w": jnp.asarray([3.0, -2.0, 1.0]), "b": jnp.asarray(0.5)}


def loss(params: Any, i: Any, x: Any) -> Any:
    return jnp.mean((jnp.tanh(x @ params["w"]) + (i + 1) * params["b"]) ** 2)


def step_on(tx: Any, params: Any, state: Any, x: Any) -> Any:
    """Take a step with the part of the batch that is here."""
    slope = jax.grad(loss)
    grads = jax.lax.pmean(slope(params, 0, x), "batch")
    updates, state = tx.update(grads, state, params, grad_fn=partial(slope, x=x))
    return optax.apply_updates(params, updates), state


def by_vmap(step: Any) -> Any:
    return jax.vmap(step, in_axes=(None, None, 0), axis_name="batch")


def by_pmap(step: Any) -> Any:
    return jax.pmap(step, in_axes=(None, None, 0), axis_name="batch")


def by_shard_map(step: Any) -> Any:
    whole, parts = PartitionSpec(), PartitionSpec("batch")

    def apart(params: Any, state: Any, x: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], step(params, state, x[0]))

    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.shard_map(apart, mesh=mesh, in_specs=(whole, whole, parts), out_specs=parts, check_vma=False)


def path(m: Any, spread: Callable[[Any], Any], reset: bool = True) -> list[Any]:
    """Return the parameters on all devices after each step."""
    climb = m.sgd(0.3, momentum=0.5)
    make = optax.contrib.sam if m is optax else m.sam
    tx = make(m.adam(0.1), climb, 3, reset, True, "batch")
    step = jax.jit(spread(partial(step_on, tx)))
    params, found = start(), []
    state = tx.init(params)
    for _ in range(STEPS):
        params, state = step(params, state, jnp.asarray(BATCH))
        found.append(params)
        params, state = jax.tree.map(lambda leaf: leaf[0], (params, state))
    return found


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("spread", [by_vmap, by_pmap, by_shard_map])
def test_gradients_of_the_climb_are_averaged(spread: Any, reset: bool) -> None:
    found, expected = path(uniopt, spread, reset), path(optax, by_vmap, reset)
    for ours, theirs in zip(found, expected, strict=True):
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert x.dtype == np.float64
            np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))  # all devices go on together
            np.testing.assert_allclose(x, y, rtol=1e-12)


def test_other_libraries_have_no_named_axes() -> None:
    tx = uniopt.sam(uniopt.sgd(0.1), uniopt.sgd(0.1), opaque_mode=True, batch_axis_name="batch")
    with pytest.raises(errors.HyperparameterError, match=r"'batch', but numpy has no named axes\. Leave it out"):
        tx.init(np.ones(2))
    with pytest.raises(errors.HyperparameterError, match="batch_axis_name is 0, expected the name of an axis"):
        uniopt.sam(uniopt.sgd(0.1), uniopt.sgd(0.1), batch_axis_name=0)  # type: ignore[arg-type]  # that is the point


def test_it_is_printed_where_it_is_given() -> None:
    tx = uniopt.sam(uniopt.sgd(0.1), uniopt.sgd(0.1), opaque_mode=True, batch_axis_name="batch")
    assert repr(tx).endswith("opaque_mode=True, batch_axis_name='batch')")
