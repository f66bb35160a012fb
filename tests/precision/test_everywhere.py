"""What the ways of training in 16 bits have in common: small steps count, on every library and in every mode."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import require
from tests.fusion.walks import assert_same_bits, copied, numpy_dtype
from tests.precision.walks import LIBRARIES, WAYS, repeated, start, stream, walked
from uniopt import errors

HALVES = ("bfloat16", "float16")


def assert_equal(found: Any, expected: Any) -> None:
    for (path, x), y in zip(uniopt.tree.leaves_with_paths(found, ""), uniopt.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(x, y, err_msg=path)


@pytest.mark.parametrize(("dtype", "rate", "spacing"), [("bfloat16", 1e-3, 2.0**-8), ("float16", 1e-4, 2.0**-11)])
def test_plain_parameters_do_not_move(dtype: str, rate: float, spacing: float) -> None:
    ones, steps = np.ones(3, numpy_dtype(dtype)), int(0.5 / rate)
    assert np.all(repeated(uniopt.sgd(rate), ones.copy(), 1.0, steps) == 1.0)
    for name, way in WAYS.items():
        found = repeated(way(uniopt.sgd(rate)), ones.copy(), 1.0, steps).astype(np.float64)
        # The variance of stochastic rounding is at most the spacing times the distance.
        bound = 5 * (0.5 * spacing) ** 0.5 if name == "stochastic_rounding" else spacing / 2
        assert np.all(np.abs(found - 0.5) <= bound), (name, found)


@pytest.mark.parametrize("mode", ["eager", "compiled"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("way", WAYS)
def test_every_library_has_the_same_bits(way: str, dtype: str, library: str, mode: str) -> None:
    """With steps of which every library has the same bits: there is no product for XLA to add without rounding it."""
    tx = WAYS[way](uniopt.scale(-0.0625))
    expected = walked("numpy", tx, start(dtype), stream(dtype))
    for found, known in zip(walked(library, tx, start(dtype), stream(dtype), mode), expected, strict=True):
        assert_equal(found, known)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("way", WAYS)
def test_other_parameters_pass_through(way: str, dtype: str) -> None:
    plain, found = (
        walked("numpy", tx, start(dtype), stream(dtype)) for tx in (uniopt.adam(0.125), WAYS[way](uniopt.adam(0.125)))
    )
    for (params, _), (expected, _) in zip(found, plain, strict=True):
        assert_same_bits(params, expected, way)


@pytest.mark.parametrize("way", WAYS)
def test_updates_are_wide_only_where_they_say_where_to_go(way: str) -> None:
    """Of the 16-bit leaves, and of those only that the mask chooses; in a chain with other parts too."""
    params = {"half": np.ones(3, np.float16), "wide": np.ones(3, np.float32), "masked": np.ones(3, np.float16)}
    tx = WAYS[way](uniopt.adam(0.125))
    mask = {"half": True, "wide": True, "masked": False}
    for outer in (
        uniopt.masked(tx, mask),
        uniopt.chain(uniopt.masked(uniopt.masked(tx, mask), mask), uniopt.scale(1.0)),
    ):
        updates, _ = outer.update(params, outer.init(params), params)
        assert {name: x.dtype.name for name, x in updates.items()} == {
            "half": "float32", "wide": "float32", "masked": "float16",
        }  # fmt: skip
        assert uniopt.apply_updates(params, updates)["half"].dtype == np.float16


@pytest.mark.parametrize("way", WAYS)
def test_no_gradient_no_step(way: str) -> None:
    """A gradient of None, for a leaf or a subtree of both dtypes, leaves parameters and slots as they are."""
    half, wide = np.ones(2, np.float16), np.ones(2, np.float32)
    params = {"a": half, "b": {"half": half, "wide": wide}, "c": wide, "d": None}
    tx = WAYS[way](uniopt.sgd(0.01))
    state = tx.init(params)
    for grads in (params, {**params, "a": None}, {**params, "b": None}, {**params, "b": None, "c": None}):
        updates, after = tx.update(grads, state, params)
        assert [updates[key] is None for key in "abcd"] == [grads[key] is None for key in "abcd"]
        assert uniopt.tree.flatten(after)[1] == uniopt.tree.flatten(state)[1]
        for key in ("master", "compensation"):
            slot = uniopt.tree_get(after, key)
            if slot is not None and grads["a"] is None:
                np.testing.assert_array_equal(slot["a"], uniopt.tree_get(state, key)["a"])


@pytest.mark.parametrize("way", WAYS)
def test_resumes_from_a_saved_state(way: str) -> None:
    tx = WAYS[way](uniopt.adam(0.125))
    grads = stream("bfloat16", 6)
    straight = list(walked("numpy", tx, start("bfloat16"), grads))
    params, state = start("bfloat16"), tx.init(start("bfloat16"))
    for k, g in enumerate(grads):
        updates, state = tx.update(g, state, params)
        params, state, tx = pickle.loads(pickle.dumps((uniopt.apply_updates(params, updates), state, tx)))
        assert_equal(uniopt.tree.map(lambda x: x.astype(np.float64), params), straight[k][0])


@pytest.mark.parametrize("way", WAYS)
def test_state_keeps_its_dtypes(way: str) -> None:
    tx = WAYS[way](uniopt.adam(0.125))
    for mode in ("eager", "compiled"):
        state = tx.init(start("bfloat16"))
        dtypes = [x.dtype for x in uniopt.tree.leaves(state)]
        step = uniopt.compile(tx)
        params = copied(start("bfloat16"))
        for g in stream("bfloat16", 2):
            if mode == "eager":
                updates, state = tx.update(g, state, params)
                params = uniopt.apply_updates(params, updates)
            else:
                params, state = step(g, state, params)
            assert [x.dtype for x in uniopt.tree.leaves(state)] == dtypes
            assert {x.dtype for x in uniopt.tree.leaves(params)} == {numpy_dtype("bfloat16")}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", HALVES)
def test_within_jax_transformations(way: str, dtype: str) -> None:
    """Under jit, scan and vmap, the parameters are what they are in eager steps."""
    import jax
    import jax.numpy as jnp

    tx = WAYS[way](uniopt.scale(-0.0625))
    params = jnp.asarray(np.linspace(-2, 2, 12).reshape(3, 4), dtype)
    grads = jnp.asarray(np.random.default_rng(0).standard_normal((4, 3, 4)), dtype)

    def step(carry: Any, g: Any) -> Any:
        params, state = carry
        updates, state = tx.update(g, state, params)
        return (uniopt.apply_updates(params, updates), state), None

    carry = (params, tx.init(params))
    for g in grads:
        carry, _ = step(carry, g)
    (scanned, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, grads))((params, tx.init(params)))
    np.testing.assert_array_equal(scanned, carry[0])

    def of_row(row: Any, g: Any) -> Any:
        updates, _ = tx.update(g, tx.init(row), row)
        return uniopt.apply_updates(row, updates)

    rows = jnp.stack([of_row(row, g) for row, g in zip(params, grads[0], strict=True)])
    np.testing.assert_array_equal(jax.vmap(of_row)(params, grads[0]), rows)


def check_torch_compile(way: str, **options: Any) -> None:
    import torch

    tx = WAYS[way](uniopt.scale(-0.0625))
    backend = require("torch")
    params = backend.from_numpy(np.linspace(-2, 2, 12), "bfloat16")
    grads = backend.from_numpy(np.random.default_rng(0).standard_normal(12), "bfloat16")

    def step(params: Any, state: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return uniopt.apply_updates(params, updates), state

    torch._dynamo.reset()
    eager, fused = (params, tx.init(params)), (params, tx.init(params))
    traced = torch.compile(step, fullgraph=True, **options)
    for _ in range(3):
        eager, fused = step(*eager), traced(*fused)
        for x, y in zip(uniopt.tree.leaves(fused), uniopt.tree.leaves(eager), strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("way", WAYS)
def test_torch_compile_makes_one_graph(way: str) -> None:
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    check_torch_compile(way, backend=counter)
    assert counter.frame_count == 1


@pytest.mark.wide
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, while inductor is imported
@pytest.mark.parametrize("way", WAYS)
def test_torch_compile_with_inductor(way: str) -> None:
    """It rounds too, though it takes out the casts that it can look into."""
    check_torch_compile(way)


@pytest.mark.parametrize("way", WAYS)
def test_torch_parameters(way: str) -> None:
    """They stay parameters, and the state holds nothing of their graph; the rate can be learnt through a step."""
    import torch

    rate = torch.tensor(0.25, requires_grad=True)
    params = {"w": torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))}
    tx = WAYS[way](uniopt.sgd(rate))
    state = tx.init(params)
    assert not any(x.requires_grad for x in uniopt.tree.leaves(state))
    updates, _ = tx.update(params, state, params)
    uniopt.apply_updates(params, updates)["w"].sum().backward()
    assert rate.grad == -3.0
    params["w"].grad = torch.ones_like(params["w"])
    with torch.no_grad():
        updates, state = tx.update({"w": params["w"].grad}, state, params)
        after = uniopt.apply_updates(params, updates)
        assert isinstance(after["w"], torch.nn.Parameter)
    grads = {"w": params["w"].grad}
    params, state = uniopt.compile(tx)(grads, state, params)
    copy.deepcopy((params, state))
    assert isinstance(params["w"], torch.nn.Parameter)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_finite_stays_in_its_element(way: str) -> None:
    params = np.asarray([1.0, 1.0, 65504.0, 1.0], np.float16)
    grads = np.asarray([np.nan, np.inf, -60000.0, 1.0], np.float16)
    tx = WAYS[way](uniopt.sgd(0.5))
    with np.errstate(over="ignore", invalid="ignore"):
        updates, _ = tx.update(grads, tx.init(params), params)
        found = uniopt.apply_updates(params, updates)
    np.testing.assert_array_equal(found, np.asarray([np.nan, -np.inf, np.inf, 0.5], np.float16))


def test_numbers_that_are_barely_numbers() -> None:
    """Subnormal float16 parameters go where they shall go, on every library, compiled too."""
    params = (2.0**-24 * np.asarray([0.0, 1.0, 5.0, -700.0, 1023.0, 1024.0])).astype(np.float16)
    grads = np.asarray([1.0, -1.0, 2.0, -3.0, -1.0, 1.0], np.float16)
    for name, way in WAYS.items():
        tx = way(uniopt.scale(-(2.0**-24)))
        for library in LIBRARIES:
            for mode in ("eager", "compiled"):
                ((found, _),) = walked(library, tx, params, [grads], mode)
                expected = params.astype(np.float64) - 2.0**-24 * grads
                np.testing.assert_array_equal(found, expected, err_msg=f"{name} {library} {mode}")


def test_errors() -> None:
    params = np.ones(2, np.float16)
    for name, way in WAYS.items():
        tx = way(uniopt.sgd(0.5))
        with pytest.raises(errors.MissingParamsError, match=name):
            tx.update(params, tx.init(params))
        state = tx.init(params)
        wrong = uniopt.EmptyState() if name == "master_weights" else (state[0], uniopt.EmptyState())
        with pytest.raises(errors.StateError, match=name):
            tx.update(params, wrong, params)
    for name in ("master_weights", "kahan_summation"):
        tx = WAYS[name](uniopt.sgd(0.5))
        with pytest.raises(errors.StateError, match="another tree"):
            tx.update({"w": params}, tx.init({"b": params}), {"w": params})
        # A state that was made for float32 has no slot for float16.
        with pytest.raises(errors.StateError, match=r"\['w'\] is no array \(MaskedNode\)"):
            tx.update({"w": params}, tx.init({"w": np.ones(2, np.float32)}), {"w": params})
    with pytest.raises(errors.HyperparameterError, match="key is -1"):
        uniopt.stochastic_rounding(-1)


def test_values_and_text() -> None:
    for name, way in WAYS.items():
        tx = way(uniopt.sgd(0.5))
        assert tx == way(uniopt.sgd(0.5)) != way(uniopt.sgd(0.25))
        assert name in repr(tx)
    assert repr(uniopt.stochastic_rounding(3)) == "stochastic_rounding(key=3)"
    assert uniopt.stochastic_rounding(3) != uniopt.stochastic_rounding(4)
    assert repr(uniopt.kahan_summation()) == "kahan_summation()"
