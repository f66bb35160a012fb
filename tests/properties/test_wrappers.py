"""Wrappers on every library: in chains, traced, resumed, with skipped leaves and in 16 bits."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import host, moved
from tests.properties.wrapped import WRAPPED, Wrapped, assert_close, problem, walk
from uniopt import tree

F = np.float32
EACH = ("flatten adam", "selective", "lookahead reset", "sam with states", "opaque sam", "schedule_free", "mechanize")
ONE_EACH = [w for w in WRAPPED if w.name in EACH]


def in_float32(values: Any) -> Any:
    return tree.map(lambda x: np.asarray(x, F), values)


@pytest.mark.parametrize("wrapped", ONE_EACH, ids=str)
def test_libraries_agree(wrapped: Wrapped, backend: Backend) -> None:
    """In float32; types, dtypes and the structure of the state stay as they are."""
    start, stream = (in_float32(x) for x in problem(wrapped.name, 1.0, 5))
    expected = [
        host((s, p), require("numpy")) for _, s, p in walk(wrapped, wrapped.start(start), stream, require("numpy"))
    ]
    first = tree.flatten(wrapped.build().init(moved(wrapped.start(start), backend)))
    for (_, state, params), numbers in zip(walk(wrapped, wrapped.start(start), stream, backend), expected, strict=True):
        leaves, structure = tree.flatten(state)
        assert structure == first[1]
        kinds = [
            [(type(x), getattr(x, "dtype", None), getattr(x, "shape", None)) for x in y] for y in (leaves, first[0])
        ]
        assert kinds[0] == kinds[1]
        assert_close(host((state, params), backend), numbers)


@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_resumed_in_the_middle(wrapped: Wrapped) -> None:
    """State and parameters are all there is: a pickled copy of both goes on with the same bits."""
    start, stream = problem(wrapped.name, 1.0, 7)
    params = wrapped.start(start)
    extra = wrapped.extra(tree.map)
    tx, state = wrapped.build(), wrapped.build().init(params)
    for grads, (_, expected, _) in zip(stream, walk(wrapped, params, stream, require("numpy")), strict=True):
        tx, state, params = pickle.loads(pickle.dumps((tx, state, params)))
        updates, state = wrapped.build().update(grads, state, params, **extra)
        params = uniopt.apply_updates(params, updates)
        for x, y in zip(tree.leaves(state), tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", ["jax", "torch", pytest.param("mlx", marks=pytest.mark.wide)])
@pytest.mark.parametrize("wrapped", ONE_EACH, ids=str)
def test_traced(wrapped: Wrapped, name: str) -> None:
    """By the libraries' own compilers; tests/fusion has the kernels for NumPy and torch."""
    import torch

    torch._dynamo.reset()
    backend = require(name)
    start, stream = (in_float32(x) for x in problem(wrapped.name, 1.0, 4))
    tx, extra = wrapped.build(), wrapped.extra(tree.map)

    @torch.compile(fullgraph=True, backend="eager")
    def by_torch(grads: Any, state: Any, params: Any) -> Any:
        updates, state = tx.update(grads, state, params, **extra)
        return uniopt.apply_updates(params, updates), state

    compiled = uniopt.compile(tx, donate=False)
    params = moved(wrapped.start(start), backend)
    state = tx.init(params)
    for grads, (_, expected, values) in zip(stream, walk(wrapped, wrapped.start(start), stream, backend), strict=True):
        given = moved(grads, backend)
        params, state = by_torch(given, state, params) if name == "torch" else compiled(given, state, params, **extra)
        assert_close(host((params, state), backend), host((values, expected), backend))


@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_a_none_gradient_leaves_its_part_alone(wrapped: Wrapped) -> None:
    if wrapped.name.startswith(("flatten", "opaque")):
        return  # a vector has no such part, and an objective needs all parameters
    start, (grads, *rest) = problem(wrapped.name, 1.0, 4)
    tx, params = wrapped.build(), wrapped.start(start)
    state = tx.init(params)
    for gradient in (grads, *rest):
        skipped = {**gradient, "dense": {"w": gradient["dense"]["w"], "b": None}}
        updates, after = tx.update(skipped, state, params)
        assert tree.flatten(after)[1] == tree.flatten(state)[1]
        for (path, x), (_, y) in zip(
            tree.leaves_with_paths(after, "state"), tree.leaves_with_paths(state, "state"), strict=True
        ):
            if path.endswith("['b']"):
                np.testing.assert_array_equal(x, y, err_msg=path)
        before, params, state = params, uniopt.apply_updates(params, updates), after
        assert_close(_bias(params), _bias(before), rtol=0.0)


def _bias(params: Any) -> Any:
    return [p["dense"]["b"] for p in (params if isinstance(params, uniopt.LookaheadParams) else [params])]


@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_zero_gradients_from_zero_parameters_make_no_nan(wrapped: Wrapped) -> None:
    start, stream = problem(wrapped.name, 0.0, 5)
    zeros = [tree.map(lambda g: 0.0 * g, grads) for grads in stream]
    with np.errstate(all="raise"):
        for _, state, params in walk(wrapped, wrapped.start(start), zeros, require("numpy")):
            assert all(np.isfinite(x).all() for x in tree.leaves((state, params)))


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("wrapped", ONE_EACH, ids=str)
def test_sixteen_bits(wrapped: Wrapped, name: str, dtype: str) -> None:
    """The parameters keep their dtype; all numbers but copies of parameters are float32."""
    backend = require(name)
    start, stream = problem(wrapped.name, 1.0, 3)
    tx, params = wrapped.build(), moved(wrapped.start(in_float32(start)), backend, dtype)
    state = tx.init(params)
    for grads in stream:
        updates, after = tx.update(moved(in_float32(grads), backend, dtype), state, params, **wrapped.extra(tree.map))
        assert [x.dtype for x in tree.leaves(after)] == [x.dtype for x in tree.leaves(state)]
        assert {x.dtype for x in tree.leaves(updates)} == {backend.dtype(dtype)}
        params, state = uniopt.apply_updates(params, updates), after
        copied = {"state.cache": 1, "state.x0": 1}
        for path, x in tree.leaves_with_paths(state, "state"):
            expected = dtype if any(path.startswith(slot) for slot in copied) else "float32"
            assert x.dtype in (backend.dtype(expected), backend.xp.int32), path
        assert all(np.isfinite(x).all() for x in tree.leaves(host((params, state), backend)))


@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_values(wrapped: Wrapped) -> None:
    """Equal when made alike, unequal otherwise; pickled, and printed."""
    tx = wrapped.build()
    assert tx == wrapped.build()
    assert hash(tx) == hash(wrapped.build())
    assert sum(tx == other.build() for other in WRAPPED) == 1
    copy = pickle.loads(pickle.dumps(tx))
    assert copy == tx
    assert repr(copy) == repr(tx)
    assert "object at" not in repr(tx)
