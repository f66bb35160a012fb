"""optax's wrappers around uniopt's optimizers and the other way round: in float64, the parameters are optax's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import uniopt

optax = pytest.importorskip("optax")
pytestmark = pytest.mark.usefixtures("x64")

EAGER = ("adam", "chain", "masked")
MASK = {"w": True, "b": False}
LABELS = {"w": "a", "b": "b"}
STEPS = 4


def schedule(count: Any) -> Any:
    return 0.1 / (1 + count)


def arrays(seed: int) -> Any:
    import jax.numpy as jnp

    rng = np.random.default_rng(seed)
    return {"w": jnp.asarray(rng.standard_normal((3, 4))), "b": jnp.asarray(rng.standard_normal(4))}


def walk(tx: Any, *, jit: bool = False, **extra: Callable[[int], Any]) -> list[Any]:
    """Return the parameters after each step."""
    import jax

    def step(grads: Any, state: Any, params: Any, extra: Any) -> Any:
        updates, state = tx.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    step = jax.jit(step) if jit else step
    params = arrays(0)
    state, path = tx.init(params), []
    for k in range(STEPS):
        params, state = step(arrays(k + 1), state, params, {name: f(k) for name, f in extra.items()})
        path.append(params)
    return path


def assert_same_path(found: list[Any], expected: list[Any]) -> None:
    for x, y in zip(uniopt.tree.leaves(found), uniopt.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-14)


# Made with uniopt, and with optax alone: `m` is where the optimizers come from.
AROUND: dict[str, Callable[[Any], Any]] = {
    "chain": lambda m: optax.chain(optax.clip_by_global_norm(1.0), m.adamw(0.1)),
    "named_chain": lambda m: optax.named_chain(("adam", m.scale_by_adam()), ("rate", m.scale(-0.1))),
    "a schedule": lambda m: optax.chain(m.adam(schedule), optax.scale(0.5)),
    "masked": lambda m: optax.masked(m.adam(0.1), MASK),
    "masked by a function": lambda m: optax.masked(m.adam(0.1), lambda p: {name: x.ndim > 1 for name, x in p.items()}),
    "MultiSteps": lambda m: optax.MultiSteps(m.adam(0.1), 2),
    "inject_hyperparams": lambda m: optax.inject_hyperparams(m.adam)(learning_rate=0.1, b1=0.8),
    "inject_hyperparams, a schedule": lambda m: optax.inject_hyperparams(m.adamw)(learning_rate=schedule),
    "flatten": lambda m: optax.flatten(m.adamw(0.1)),
    "apply_if_finite": lambda m: optax.apply_if_finite(m.adam(0.1), 3),
    "partition": lambda m: optax.partition({"a": m.adam(0.1), "b": m.sgd(0.1, momentum=0.9)}, LABELS),
    "conditionally_transform": lambda m: optax.conditionally_transform(m.adam(0.1), lambda step, **_: step < 3),
}


@pytest.mark.parametrize("name", AROUND)
def test_optax_around_uniopt(name: str) -> None:
    expected = walk(AROUND[name](optax), jit=True)
    assert_same_path(walk(AROUND[name](uniopt), jit=True), expected)
    if name in EAGER:
        assert_same_path(walk(AROUND[name](uniopt)), expected)


WITHIN: dict[str, Callable[[], Any]] = {
    "adam": lambda: optax.adam(0.1),
    "a schedule": lambda: optax.sgd(schedule, momentum=0.5),
    "clip_by_global_norm": lambda: optax.clip_by_global_norm(1.0),
    "MultiSteps": lambda: optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=schedule),
    "masked": lambda: optax.masked(optax.adam(0.1), MASK),
    "partition": lambda: optax.partition({"a": optax.adam(0.1), "b": optax.sgd(0.1)}, LABELS),
    "add_noise": lambda: optax.add_noise(0.1, 0.5, 0),
}


@pytest.mark.parametrize("name", WITHIN)
def test_optax_within_uniopt(name: str) -> None:
    import jax

    tx, expected = (
        uniopt.chain(uniopt.trace(0.9), WITHIN[name]()),
        walk(optax.chain(optax.trace(0.9), WITHIN[name]()), jit=True),
    )
    assert_same_path(walk(tx, jit=True), expected)
    if name in EAGER:
        assert_same_path(walk(tx), expected)
    params = jax.tree.map(jax.numpy.array, arrays(0))
    step, state, path = uniopt.compile(tx), tx.init(params), []
    for k in range(STEPS):
        params, state = step(arrays(k + 1), state, params)
        path.append(jax.tree.map(jax.numpy.array, params))
    assert_same_path(path, expected)


@pytest.mark.parametrize("name", ["a schedule", "MultiSteps"])
def test_optax_within_a_mask(name: str) -> None:
    paths = [walk(m.masked(WITHIN[name](), MASK), jit=True) for m in (uniopt, optax)]
    assert_same_path(*paths)


def test_extra_arguments() -> None:
    """Into optax's they go; into uniopt's where optax is told that there are some, which a pair cannot tell."""
    extra = {"value": lambda k: 2.0 + k}
    expected = walk(optax.chain(optax.polyak_sgd(1.0)), **extra)
    told = optax.GradientTransformationExtraArgs(*uniopt.polyak_sgd(1.0))
    for tx in (uniopt.chain(optax.polyak_sgd(1.0)), optax.chain(told), uniopt.chain(optax.chain(told))):
        assert_same_path(walk(tx, **extra), expected)
    with pytest.raises(uniopt.errors.MissingArgumentError, match="value"):
        walk(optax.chain(uniopt.polyak_sgd(1.0)), **extra)


def test_functions_among_extra_arguments() -> None:
    """A line search calls the objective."""

    def objective(params: Any) -> Any:
        return sum(((x - 1) ** 2).sum() for x in params.values())

    import jax

    paths = []
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=3)
    for tx in (optax.chain(optax.sgd(1.0), search), uniopt.chain(uniopt.sgd(1.0), search)):
        params = arrays(0)
        state = tx.init(params)
        for _ in range(2):
            value, grad = jax.value_and_grad(objective)(params)
            updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=objective)
            params = optax.apply_updates(params, updates)
        paths.append(params)
    assert_same_path(paths[1:], paths[:1])


def test_a_pair_of_functions_is_given_what_it_names() -> None:
    def update(updates: Any, state: Any, params: Any = None, *, value: Any) -> Any:
        return uniopt.tree.map(lambda g: value * g, updates), state

    tx = uniopt.chain((lambda params: (), update), uniopt.scale(-1.0))
    updates, _ = tx.update(np.ones(2), tx.init(np.ones(2)), value=3.0, other=4.0)
    assert updates.tolist() == [-3.0, -3.0]


def test_an_object_with_init_and_update() -> None:
    """optax.MultiSteps is no pair of functions."""
    found = walk(uniopt.chain(uniopt.scale(2.0), optax.MultiSteps(optax.adam(0.1), 2)))
    expected = walk(optax.chain(optax.scale(2.0), optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation()))
    assert_same_path(found, expected)


def test_16_bit_gradients_stay_so_within_optax() -> None:
    import jax.numpy as jnp

    seen = []

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        seen.append((updates.dtype, params.dtype))
        return updates, state

    tx = uniopt.chain(uniopt.scale(0.5), (lambda params: (), update), uniopt.scale(-1.0))
    params = jnp.ones(2, "bfloat16")
    updates, _ = tx.update(params, tx.init(params), params)
    assert seen == [(jnp.bfloat16, jnp.bfloat16)]
    assert updates.dtype == jnp.bfloat16


def test_state_tools_across() -> None:
    """optax's find what is in uniopt's states, and uniopt's in optax's, through wrappers of both."""
    tx = optax.chain(optax.masked(uniopt.adam(0.1), MASK), uniopt.chain(uniopt.trace(0.9), optax.adagrad(0.1)))
    params = arrays(0)
    state = tx.init(params)
    _, state = tx.update(arrays(1), state, params)
    for name in ("count", "mu", "trace", "sum_of_squares", "ScaleByAdamState", "inner_state", "b", "nothing"):
        theirs = optax.tree_utils.tree_get_all_with_path(state, name)
        ours = uniopt.tree_get_all_with_path(state, name)
        assert [path for path, _ in ours] == [path for path, _ in theirs]
        assert [str(path) for path, _ in ours] == [str(path) for path, _ in theirs]
        assert all(x is y for (_, x), (_, y) in zip(ours, theirs, strict=True))
    for m in (optax.tree_utils, uniopt):
        changed = m.tree_set(state, count=np.int32(7))
        assert m.tree_get(changed, "count") == 7
    tx = uniopt.chain(uniopt.adam(0.1), optax.trace(0.9))
    for m in (optax.tree_utils, uniopt):
        mapped = m.tree_map_params(
            tx, lambda x, label: label, tx.init(params), LABELS, transform_non_params=lambda x: None
        )
        assert uniopt.tree_get(mapped, "mu") == uniopt.tree_get(mapped, "trace") == LABELS
        assert uniopt.tree_get(mapped, "count") is None
