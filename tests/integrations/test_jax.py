"""uniopt in the training loops of flax, equinox and optax, and under JAX's transformations, on the digits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as checkpoints
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from tests.integrations.digits import images_and_labels, start
from uniopt.errors import HyperparameterError, MissingArgumentError
from uniopt.integrations.optax import wrap

STEPS = 12
X, Y = map(jnp.asarray, images_and_labels())


def logits(params: Any, x: Any) -> Any:
    hidden = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return hidden @ params["out"]["kernel"] + params["out"]["bias"]


def loss(params: Any, x: Any = X, y: Any = Y) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()


def params() -> Any:
    return jax.tree.map(jnp.asarray, start())


def make(m: Any) -> Any:
    """Return the optimizer, of uniopt or of optax."""
    return m.chain(m.clip_by_global_norm(0.5), m.adamw(m.cosine_decay_schedule(0.03, STEPS)))


def one_step(tx: Any, params: Any, state: Any, x: Any = X, y: Any = Y) -> Any:
    updates, state = tx.update(jax.grad(loss)(params, x, y), state, params)
    return optax.apply_updates(params, updates), state


def walked(tx: Any, step: Any = None) -> Any:
    """Return the parameters after `STEPS` steps."""
    now, state = params(), tx.init(params())
    step = step or jax.jit(partial(one_step, tx))
    for _ in range(STEPS):
        now, state = step(now, state)
    return now


def assert_near(found: Any, expected: Any, rtol: float = 2e-5) -> None:
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * float(jnp.max(jnp.abs(y))))


@pytest.fixture(scope="module")
def expected() -> Any:
    """The parameters after training with optax."""
    reached = walked(make(optax))
    assert loss(reached) < 0.5 * loss(params())
    return reached


def test_within_optax_chain(expected: Any) -> None:
    tx = optax.chain(optax.clip_by_global_norm(0.5), uniopt.adamw(uniopt.cosine_decay_schedule(0.03, STEPS)))
    assert_near(walked(tx), expected)


def test_train_state_of_flax(expected: Any) -> None:
    state = TrainState.create(apply_fn=logits, params=params(), tx=make(uniopt))

    @jax.jit
    def step(state: Any) -> Any:
        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    for _ in range(STEPS):
        state = step(state)
    assert_near(state.params, expected)
    assert int(state.step) == STEPS


class Classifier(nnx.Module):
    def __init__(self) -> None:
        self.hidden = nnx.Linear(64, 32, rngs=nnx.Rngs(0))
        self.out = nnx.Linear(32, 10, rngs=nnx.Rngs(0))
        nnx.update(self, params())

    def __call__(self, x: Any) -> Any:
        return self.out(jnp.tanh(self.hidden(x)))


def test_nnx_optimizer(expected: Any) -> None:
    model = Classifier()
    optimizer = nnx.Optimizer(model, make(uniopt), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> None:
        def objective(model: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(model(X), Y).mean()

        optimizer.update(model, nnx.grad(objective)(model))

    for _ in range(STEPS):
        step(model, optimizer)
    assert_near(jax.tree.leaves(nnx.state(model, nnx.Param)), expected)


class Network(eqx.Module):
    layers: dict[str, Any]
    activation: Any = eqx.field(static=True)


def test_loop_of_equinox(expected: Any) -> None:
    model, tx = Network(params(), jnp.tanh), make(uniopt)
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model: Any, state: Any) -> Any:
        grads = eqx.filter_grad(lambda model: loss(model.layers))(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    for _ in range(STEPS):
        model, state = step(model, state)
    assert_near(model.layers, expected)


@pytest.mark.parametrize("library", [optax, uniopt], ids=["optax", "uniopt"])
def test_hyperparameters_that_are_set(library: Any) -> None:
    """As users of ``inject_hyperparams`` write it: the rate is set in the state between steps."""
    paths = []
    for inject, adam in ((library.inject_hyperparams, uniopt.adam), (optax.inject_hyperparams, optax.adam)):
        tx = inject(adam)(learning_rate=0.01)
        step, now, state = jax.jit(partial(one_step, tx)), params(), tx.init(params())
        for k in range(4):
            state.hyperparams["learning_rate"] = jnp.asarray(0.01 * (k + 1))
            now, state = step(now, state)
        paths.append(now)
    assert_near(*paths)


def test_checkpoints_of_orbax(tmp_path: Path, expected: Any) -> None:
    tx = make(uniopt)
    step, now, state = jax.jit(partial(one_step, tx)), params(), tx.init(params())
    for _ in range(STEPS // 2):
        now, state = step(now, state)
    with checkpoints.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", {"params": now, "state": state})
        checkpointer.wait_until_finished()
        like = jax.eval_shape(lambda: {"params": params(), "state": tx.init(params())})
        held = checkpointer.restore(tmp_path / "run", like)
    assert jax.tree.structure(held) == jax.tree.structure({"params": now, "state": state})
    now, state = held["params"], held["state"]
    for _ in range(STEPS // 2):
        now, state = step(now, state)
    assert_near(now, expected)


def test_scan_and_donation(expected: Any) -> None:
    tx = make(uniopt)

    @partial(jax.jit, donate_argnums=(0, 1))
    def train(now: Any, state: Any) -> Any:
        return jax.lax.scan(lambda carry, _: (one_step(tx, *carry), None), (now, state), length=STEPS)[0]

    given = params(), tx.init(params())
    assert_near(train(*given)[0], expected)
    assert all(x.is_deleted() for x in jax.tree.leaves(given))


@pytest.mark.parametrize("name", SETTINGS)
def test_first_states_are_donated(name: str) -> None:
    """Which JAX refuses if one array is at two places, or a parameter is in the state."""
    hyper = next(iter(SETTINGS[name].values()))
    tx = getattr(uniopt, name)(**{key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()})
    given = {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}
    kept = jax.jit(lambda *trees: trees, donate_argnums=(0, 1))(tx.init(given), given)
    assert all(not x.is_deleted() for x in jax.tree.leaves(kept))


def test_vmap_over_models(expected: Any) -> None:
    """A batch of models, each of which walks as it does alone."""
    tx = make(uniopt)
    others = [jax.tree.map(jnp.asarray, start(seed)) for seed in (0, 1)]
    now = jax.tree.map(lambda *leaves: jnp.stack(leaves), *others)
    state = jax.vmap(tx.init)(now)
    step = jax.jit(jax.vmap(partial(one_step, tx)))
    for _ in range(STEPS):
        now, state = step(now, state)
    assert_near(jax.tree.map(lambda p: p[0], now), expected)
    assert not jnp.allclose(now["out"]["kernel"][0], now["out"]["kernel"][1])


def spread(mesh: Any, tree: Any) -> Any:
    """Return a tree with each leaf's first axis over the devices where it can be."""

    def put(x: Any) -> Any:
        axes = ("data",) if x.ndim and x.shape[0] % mesh.size == 0 else ()
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes)))

    return jax.tree.map(put, tree)


@pytest.fixture
def mesh() -> Any:
    assert jax.device_count() == 4
    return jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))


def test_sharded(mesh: Any, expected: Any) -> None:
    tx = make(uniopt)
    now = spread(mesh, params())
    state = tx.init(now)
    step = jax.jit(partial(one_step, tx))
    for _ in range(STEPS):
        now, state = step(now, state)
    assert_near(now, expected)
    for slot in ("mu", "nu"):
        for p, x in zip(jax.tree.leaves(now), jax.tree.leaves(uniopt.tree_get(state, slot)), strict=True):
            assert x.sharding.is_equivalent_to(p.sharding, p.ndim)
    kernel = uniopt.tree_get(state, "mu")["hidden"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (16, 32)


def test_shard_map(mesh: Any, expected: Any) -> None:
    """Data parallel: each device has a quarter of the images, and all have the mean of the gradients."""
    tx = make(uniopt)

    def step(now: Any, state: Any, x: Any, y: Any) -> Any:
        grads = jax.lax.pmean(jax.grad(loss)(now, x, y), "data")
        updates, state = tx.update(grads, state, now)
        return uniopt.apply_updates(now, updates), state

    data = PartitionSpec("data")
    whole = PartitionSpec()
    mapped = jax.jit(
        jax.shard_map(step, mesh=mesh, in_specs=(whole, whole, data, data), out_specs=(whole, whole), check_vma=False)
    )
    assert_near(walked(tx, lambda now, state: mapped(now, state, X, Y)), expected)


def test_pmap(expected: Any) -> None:
    tx = make(uniopt)

    @partial(jax.pmap, axis_name="data")
    def step(now: Any, state: Any, x: Any, y: Any) -> Any:
        updates, state = tx.update(jax.lax.pmean(jax.grad(loss)(now, x, y), "data"), state, now)
        return uniopt.apply_updates(now, updates), state

    now, state = jax.tree.map(lambda x: jnp.stack([x] * 4), (params(), tx.init(params())))
    for _ in range(STEPS):
        now, state = step(now, state, X.reshape(4, -1, 64), Y.reshape(4, -1))
    assert_near(jax.tree.map(lambda p: p[3], now), expected)


def test_wrapped_for_extra_arguments() -> None:
    def train(tx: Any) -> Any:
        now, state = params(), tx.init(params())
        for _ in range(3):
            value, grads = jax.value_and_grad(loss)(now)
            updates, state = tx.update(grads, state, now, value=value)
            now = optax.apply_updates(now, updates)
        return now

    polyak = uniopt.dialects.optax.polyak_sgd
    chained = optax.chain(optax.clip(1.0), optax.masked(wrap(polyak(1.0)), True))
    assert isinstance(chained, optax.GradientTransformationExtraArgs)
    assert_near(train(chained), train(optax.chain(optax.clip(1.0), optax.polyak_sgd(1.0))))
    with pytest.raises(MissingArgumentError, match=r"'value'.*uniopt\.integrations\.optax\.wrap"):
        train(optax.chain(polyak(1.0)))


def test_what_is_no_transformation() -> None:
    import torch

    with pytest.raises(HyperparameterError, match=r"uniopt.dialects.torch.Adam\(...\)"):
        wrap(torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]))
    with pytest.raises(HyperparameterError, match="Call the optimizer first"):
        wrap(uniopt.adam)
