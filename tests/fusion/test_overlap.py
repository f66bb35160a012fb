"""Leaves that share memory: with gradients, with each other, and as one array under two names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import uniopt
from tests.fusion.walks import assert_same_bits, build, copied, in_numpy, normal, numpy_dtype, tensor

LIBRARIES = ["numpy", "torch"]
OPTIMIZERS = ["adamw", "adan", "lamb", "optimistic_adam", "rprop"]


def line(library: str, n: int, dtype: str = "float32") -> Any:
    found = normal((library, n), dtype)(n)
    return found if library == "numpy" else tensor(found)


def check(library: str, name: str, params: Any, gradients: Callable[[Any], Any], steps: int = 3) -> None:
    """Compare with eager steps on copies, in which nothing overlaps."""
    tx = build(name)
    step, state = uniopt.compile(tx), tx.init(params)
    for k in range(steps):
        grads = gradients(params)
        apart = copied(uniopt.tree.map(in_numpy, (grads, state, params)))
        updates, wanted = tx.update(*apart)
        wanted_params = uniopt.apply_updates(apart[2], updates)
        params, state = step(grads, state, params)
        if name == "lamb":  # its sums are another order's
            for x, y in zip(uniopt.tree.leaves(params), uniopt.tree.leaves(wanted_params), strict=True):
                np.testing.assert_allclose(in_numpy(x), y, rtol=1e-6, atol=1e-7, err_msg=f"step {k}")
        else:
            assert_same_bits((params, state), (wanted_params, wanted), f"step {k}")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_that_are_the_parameters(library: str, name: str) -> None:
    check(library, name, {"a": line(library, 1000), "b": line(library, 7)}, lambda params: params)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("shift", [1, 5, 64, 600])
def test_gradients_that_overlap_a_parameter(library: str, name: str, shift: int) -> None:
    """In place, the first elements' results would be read as the gradients of later ones."""
    buffer = line(library, 2000)
    params = {"a": buffer[shift : shift + 1000]}
    check(library, name, params, lambda params: {"a": buffer[:1000]})


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_that_is_another_leafs_parameter(library: str, name: str) -> None:
    params = {"a": line(library, 100), "b": line(library, 101)[1:]}
    check(library, name, params, lambda params: {"a": params["b"], "b": params["a"]})


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_gradient_that_is_part_of_the_state(library: str) -> None:
    tx, params = build("adamw"), {"a": line(library, 100)}
    state, step = tx.init(params), uniopt.compile(tx)
    params, state = step({"a": params["a"] * 2}, state, params)
    grads = state[0].nu
    apart = copied(uniopt.tree.map(in_numpy, (grads, state, params)))
    updates, wanted = tx.update(*apart)
    assert_same_bits(step(grads, state, params), (uniopt.apply_updates(apart[2], updates), wanted), "second step")


@pytest.mark.parametrize("library", LIBRARIES)
def test_gradients_that_overlap_in_some_steps_only(library: str) -> None:
    """A program bound to gradients of their own meets ones that are not, and the other way round."""
    params = {"a": line(library, 100)}
    own = {"a": line(library, 100) * 3}
    turns = iter([own, params, own, {"a": own["a"] * 1}, params, params])
    check(library, "adamw", params, lambda params: next(turns), steps=6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("start", "stop"), [(0, 1000), (1, 1000), (500, 1300), (200, 300)])
def test_parameters_that_overlap(library: str, name: str, start: int, stop: int) -> None:
    """Each leaf has its own next value; one of them is returned as a new array."""
    buffer = line(library, 1500)
    params = {"a": buffer[:1000], "b": buffer[start:stop]}
    grads = {"a": line(library, 1000) * 2, "b": line(library, stop - start) * 3}
    check(library, name, params, lambda params: grads)


@pytest.mark.parametrize("library", LIBRARIES)
def test_tied_parameters(library: str) -> None:
    w = line(library, 10)
    params = {"encoder": w, "decoder": w, "other": line(library, 3)}
    grads = {"encoder": line(library, 10), "decoder": line(library, 10) * 2, "other": line(library, 3)}
    check(library, "adamw", params, lambda params: grads)


@pytest.mark.parametrize("library", LIBRARIES)
def test_state_that_is_the_parameters(library: str) -> None:
    """What a checkpoint loader may make: a slot that is the parameter itself."""
    tx, params = build("sgd", "momentum"), {"a": line(library, 100)}
    state = uniopt.tree.map(lambda x: params["a"], tx.init(params))
    grads = {"a": line(library, 100)}
    apart = copied(uniopt.tree.map(in_numpy, (grads, state, params)))
    updates, wanted = tx.update(*apart)
    found = uniopt.compile(tx)(grads, state, params)
    assert_same_bits(found, (uniopt.apply_updates(apart[2], updates), wanted), "the step")


def test_float64_and_float32_leaves_in_one_buffer() -> None:
    buffer = np.zeros(1024, np.uint8)
    params = {
        "a": buffer[:256].view(np.float32),
        "b": buffer[256:512].view(np.float64),
        "c": buffer[512:].view(np.float16),
    }
    for p in params.values():
        p[...] = np.linspace(-1, 1, p.size)
    check(
        "numpy",
        "adamw",
        params,
        lambda params: {"a": params["c"][:64].astype(np.float32), "b": params["b"], "c": params["c"][::-1]},
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_halves_that_overlap(library: str) -> None:
    buffer = normal("halves", "bfloat16")(300)
    assert buffer.dtype == numpy_dtype("bfloat16")
    if library == "torch":
        buffer = tensor(buffer)
    params = {"a": buffer[100:]}

    def array(x: Any) -> Any:
        return (
            in_numpy(x).view(numpy_dtype("bfloat16")).copy() if in_numpy(x).dtype == np.uint16 else in_numpy(x).copy()
        )

    tx = build("adamw")
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(3):
        apart = uniopt.tree.map(array, ({"a": buffer[:200]}, state, params))
        updates, wanted = tx.update(*apart)
        params, state = step({"a": buffer[:200]}, state, params)
        assert_same_bits((params, state), (uniopt.apply_updates(apart[2], updates), wanted), f"step {k}")


def test_a_parameter_that_moves_to_other_memory() -> None:
    w = torch.nn.Parameter(torch.ones(5))
    tx, params = uniopt.adamw(0.1), {"w": w}
    state, step = tx.init(params), uniopt.compile(tx)
    grads = {"w": torch.linspace(-1, 1, 5)}
    step(grads, state, params)
    held = w.data
    w.data = torch.linspace(2, 3, 5)
    apart = copied(uniopt.tree.map(in_numpy, (grads, state, params)))
    before = held.clone()
    step(grads, state, params)
    updates, wanted = tx.update(*apart)
    assert_same_bits((params, state), (uniopt.apply_updates(apart[2], updates), wanted), "after the move")
    assert torch.equal(held, before)
    w.data = torch.ones(3, 5).T[:, 1]  # other strides
    apart = copied(uniopt.tree.map(in_numpy, (grads, state, params)))
    step(grads, state, params)
    updates, wanted = tx.update(*apart)
    assert_same_bits((params, state), (uniopt.apply_updates(apart[2], updates), wanted), "after other strides")
