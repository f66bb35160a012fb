"""Every kind of container: what comes out is what went in, and the numbers do not depend on it."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import ONE_EACH, Case


class Layer(NamedTuple):
    w: Any
    b: Any


@dataclasses.dataclass
class Model:
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    first: Any
    second: Any

    def __post_init__(self) -> None:
        assert self.first is not None


Old = namedtuple("Old", ["first", "second"])  # the other way of making one

CONTAINERS = {
    "dict": lambda x, y: {"first": x, "second": y},
    "dict in another order": lambda x, y: {"second": y, "first": x},
    "dict of numbers": lambda x, y: {10: x, 9: y},
    "list": lambda x, y: [x, y],
    "tuple": lambda x, y: (x, y),
    "nested": lambda x, y: {"a": [x, (y, {})], "b": ()},
    "NamedTuple": Layer,
    "namedtuple": Old,
    "dataclass": Model,
    "frozen dataclass": Frozen,
    "OrderedDict": lambda x, y: OrderedDict([("z", x), ("a", y)]),
    "defaultdict": lambda x, y: defaultdict(list, {"z": x, "a": y}),
    "all of them": lambda x, y: {"a": Model([Layer(x, None)], OrderedDict(y=(y,))), "n": None},
}


def skeleton(node: Any) -> Any:
    """Return the types of the containers, the order of their keys included."""
    if isinstance(node, dict):
        return type(node), [(key, skeleton(child)) for key, child in node.items()]
    if isinstance(node, list | tuple):
        return type(node), [skeleton(child) for child in node]
    if dataclasses.is_dataclass(node):
        return type(node), [(f.name, skeleton(getattr(node, f.name))) for f in dataclasses.fields(node)]
    return type(node)


def check(tx: Any, make: Any, backend: Backend) -> None:
    x, y = (backend.from_numpy(np.asarray(v, np.float32)) for v in ([1.0, -2.0], 3.0))
    params = make(x, y)
    plain = {"first": x, "second": y}
    state, plain_state = tx.init(params), tx.init(plain)
    for _ in range(2):
        updates, state = tx.update(params, state, params)
        plain_updates, plain_state = tx.update(plain, plain_state, plain)
        params = uniopt.apply_updates(params, updates)
        plain = uniopt.apply_updates(plain, plain_updates)
        assert skeleton(params) == skeleton(make(x, y))
        assert skeleton(updates) == skeleton(make(x, y))
        found = sorted(backend.to_numpy(leaf).tobytes() for leaf in uniopt.tree.leaves(params))
        assert found == sorted(backend.to_numpy(leaf).tobytes() for leaf in uniopt.tree.leaves(plain))


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in CONTAINERS.items()])
@pytest.mark.parametrize("case", [case for case in ONE_EACH if case.optimizer in ("sgd", "adamw", "rmsprop")], ids=str)
def test_containers(backend: Backend, case: Case, make: Any) -> None:
    check(case.build(), make, backend)


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in CONTAINERS.items()])
def test_compiled_steps_return_the_same_containers(make: Any) -> None:
    backend, tx = require("jax"), uniopt.adam(0.5)
    x, y, first, second = (backend.from_numpy(np.asarray(v, np.float32)) for v in ([1.0, -2.0], 3.0, [5.0, 6.0], 7.0))
    plain, plain_grads = {"first": first, "second": second}, {"first": x, "second": y}
    plain_state = tx.init(plain)
    params, grads = make(1 * first, 1 * second), make(x, y)  # copies, for the step deletes them
    state, step = tx.init(params), uniopt.compile(tx)
    expected = skeleton(params), skeleton(state)
    for _ in range(2):
        updates, plain_state = tx.update(plain_grads, plain_state, plain)
        plain = uniopt.apply_updates(plain, updates)
        params, state = step(grads, state, params)
        assert (skeleton(params), skeleton(state)) == expected
        by_rank = sorted(uniopt.tree.leaves(params), key=lambda leaf: -leaf.ndim)
        for found, value in zip(by_rank, plain.values(), strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-6)


def test_a_single_array_is_a_tree(backend: Backend) -> None:
    x = backend.from_numpy(np.asarray([1.0, 2.0], np.float32))
    tx = uniopt.adam(0.5)
    updates, state = tx.update(x, tx.init(x), x)
    assert type(uniopt.apply_updates(x, updates)) is type(x)
    assert type(state[0].mu) is type(x)


def test_flax_struct() -> None:
    import flax.struct

    @flax.struct.dataclass
    class Weights:
        first: Any
        second: Any
        name: str = flax.struct.field(pytree_node=False, default="dense")

    check(uniopt.adamw(0.1), lambda x, y: {"layer": Weights(x, y, name="embedding")}, require("jax"))
    tx = uniopt.adam(0.1)
    params = Weights(np.ones(2), np.ones(1), name="embedding")
    updates, _ = tx.update(params, tx.init(params), params)
    assert updates.name == "embedding"  # what is no leaf is carried along


def test_equinox_module() -> None:
    import equinox
    import jax

    model = equinox.nn.MLP(2, 1, width_size=3, depth=1, key=jax.random.PRNGKey(0))
    arrays, static = equinox.partition(model, equinox.is_inexact_array)
    tx = uniopt.adamw(1e-2)
    state = tx.init(arrays)

    def loss(arrays: Any) -> Any:
        return jax.numpy.sum(equinox.combine(arrays, static)(jax.numpy.ones(2)) ** 2)

    before = loss(arrays)
    for _ in range(5):
        updates, state = tx.update(jax.grad(loss)(arrays), state, arrays)
        arrays = uniopt.apply_updates(arrays, updates)
    assert isinstance(arrays, equinox.nn.MLP)
    assert loss(arrays) < before


def test_a_node_registered_with_jax_without_leaves() -> None:
    import jax

    @jax.tree_util.register_static
    class Marker:
        pass

    check(uniopt.adam(0.1), lambda x, y: {"a": x, "b": y}, require("jax"))
    marker = Marker()
    x = require("jax").from_numpy(np.asarray([1.0, 2.0], np.float32))
    params = {"w": x, "marker": marker}
    tx = uniopt.adamw(0.1)
    updates, state = tx.update(params, tx.init(params), params)
    assert updates["marker"] is marker
    assert uniopt.apply_updates(params, updates)["marker"] is marker
    assert state[0].mu["marker"] is marker


def test_a_node_registered_with_jax_by_hand() -> None:
    import jax

    class Box:
        def __init__(self, first: Any, second: Any) -> None:
            self.first, self.second = first, second

    jax.tree_util.register_pytree_node(Box, lambda box: ((box.first, box.second), None), lambda _, pair: Box(*pair))
    check(uniopt.adam(0.1), Box, require("jax"))
    x = np.asarray([1.0])
    check_types = uniopt.tree.map(lambda leaf: leaf, Box(x, x))
    assert type(check_types) is Box
    assert check_types.first is x
