"""A compiled step as an object: called with other trees, from several threads, copied and pickled."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import uniopt
from tests.fusion.walks import assert_same_bits, build, compiled, copied, eager, gradients, in_torch, normal, odd_tree
from uniopt.errors import EagerStepWarning


class Layer(NamedTuple):
    w: Any
    b: Any


@dataclasses.dataclass
class Model:
    first: Any
    second: Any
    nothing: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    layers: Any


CONTAINERS = {
    "a single array": lambda x, y: x,
    "dict": lambda x, y: {"b": x, "a": y},
    "list": lambda x, y: [x, [y]],
    "tuple": lambda x, y: (x, (y,)),
    "NamedTuple": Layer,
    "dataclass": Model,
    "frozen dataclass": lambda x, y: Frozen((x, y)),
    "OrderedDict": lambda x, y: OrderedDict([("z", x), ("a", y)]),
    "defaultdict": lambda x, y: defaultdict(list, {"z": x, "a": y}),
    "all of them": lambda x, y: {"m": Model([Layer(x, None)], OrderedDict(y=Frozen([(y,), {}, ()]))), "n": None},
}


@pytest.mark.parametrize("donate", [True, False])
@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_containers(make: Any, donate: bool) -> None:
    draw = normal("containers", "float32")
    tx = uniopt.adamw(0.1)
    params, grads = make(draw(3), draw(2, 2)), make(draw(3), draw(2, 2))
    expected, expected_state = next(eager(tx, copied(params), [grads], 1))
    found, state = uniopt.compile(tx, donate=donate)(grads, tx.init(params), params)
    assert uniopt.tree.flatten((found, state))[1] == uniopt.tree.flatten((expected, expected_state))[1]
    assert type(found) is type(params)
    assert_same_bits((found, state), (expected, expected_state), "the step")


def test_an_empty_tree() -> None:
    tx = uniopt.adam(0.1)
    params, state = uniopt.compile(tx)({}, tx.init({}), {})
    assert params == {}
    assert state[0].count == 1


def test_no_gradient_at_all() -> None:
    tx = uniopt.adamw(0.1)
    params = {"a": np.ones(2), "b": [np.ones(3)]}
    state, step = tx.init(params), uniopt.compile(tx)
    expected = next(eager(tx, copied(params), [{"a": None, "b": [None]}], 1))
    assert_same_bits(step({"a": None, "b": [None]}, state, params), expected, "nothing")


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_other_shapes_dtypes_and_structures_later(library: str) -> None:
    tx = uniopt.adamw(0.1)
    step = uniopt.compile(tx)
    draw = {dtype: normal(dtype, dtype) for dtype in ("float32", "float64", "bfloat16")}
    trees = [
        [draw["float32"](3)],
        [draw["float32"](4)],
        [draw["float64"](4)],
        [draw["float32"](2, 3).T],
        {"w": draw["bfloat16"](5), "b": draw["float64"](2)},
        [draw["float32"](3), draw["float32"](3)],
        [draw["float32"]()],
        [],
    ]
    states = [tx.init(params) for params in trees]
    mine = [
        (in_torch(p), in_torch(s)) if library == "torch" else (copied(p), copied(s))
        for p, s in zip(trees, states, strict=True)
    ]
    for round_ in range(3):
        for i, params in enumerate(trees):
            grads = uniopt.tree.map(lambda p, k=round_: (p * (k - 1)).astype(p.dtype), params)
            updates, states[i] = tx.update(grads, states[i], params)
            trees[i] = uniopt.apply_updates(params, updates)
            mine[i] = step(in_torch(grads) if library == "torch" else grads, mine[i][1], mine[i][0])
            assert_same_bits(mine[i], (trees[i], states[i]), f"round {round_}, tree {i}")


def test_one_step_for_two_libraries() -> None:
    tx = uniopt.adamw(0.1)
    step, draw = uniopt.compile(tx), normal("two", "float32")
    params, grads = [draw(5)], [draw(5)]
    on_torch = in_torch(params)
    state, torch_state = tx.init(params), tx.init(on_torch)
    for k in range(3):
        params, state = step(grads, state, params)
        on_torch, torch_state = step(in_torch(grads), torch_state, on_torch)
        assert_same_bits((on_torch, torch_state), (params, state), f"step {k}")


def test_gradients_of_another_dtype_layout_and_type_later() -> None:
    tx = uniopt.adamw(0.1)
    params = {"w": normal("later", "float32")(4, 3)}
    make = normal("gradients", "float32")
    stream = [make(4, 3), make(3, 4).T, make(4, 3).astype(np.float16), make(4, 3).astype(np.float64), make(8, 3)[::2]]
    stream += [np.broadcast_to(make(3), (4, 3)), make(4, 3)]
    stream = [{"w": g} for g in stream]
    for k, pair in enumerate(zip(compiled(tx, copied(params), stream, 7), eager(tx, params, stream, 7), strict=True)):
        assert_same_bits(*pair, f"step {k}")


def test_functions_and_texts_among_the_extra_arguments_belong_to_the_program() -> None:
    """Another one is another program; one that is equal to a known one is not."""
    recorded = []

    def update(updates: Any, state: Any, params: Any = None, *, rate: Any, way: str) -> Any:
        recorded.append(way)
        return uniopt.tree.map(lambda g: rate(g) if way == "up" else -rate(g), updates), state

    def half(x: Any) -> Any:
        return 0.5 * x

    def whole(x: Any) -> Any:
        return x

    step = uniopt.compile(uniopt.GradientTransformation(lambda params: (), update), donate=False)
    calls = [(half, "down", -1.0), (whole, "down", -3.0), (half, "up", 3.0), (whole, "".join("down"), -3.0)]
    for rate, way, expected in (*calls, *calls):
        after, _ = step(np.full(2, 4.0), (), np.ones(2), rate=rate, way=way)
        assert after.tolist() == [expected] * 2
    assert recorded == ["down", "down", "up"]


# Copies


def test_it_prints_what_it_was_made_of() -> None:
    tx = uniopt.sgd(0.5)
    assert repr(uniopt.compile(tx)) == f"compile({tx!r})"
    assert repr(uniopt.compile(tx, donate=False)) == f"compile({tx!r}, donate=False)"


@pytest.mark.parametrize("donate", [True, False])
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda step: pickle.loads(pickle.dumps(step))])
def test_copies(again: Any, donate: bool) -> None:
    tx = uniopt.adamw(uniopt.linear_schedule(0.5, 0.1, 5))
    params, stream = odd_tree(normal("copies", "float32")), gradients("copies", "float32", 4)
    state, step = tx.init(params), uniopt.compile(tx, donate=donate)
    expected = list(eager(tx, copied(params), stream, 4))
    params, state = step(stream[0], state, params)
    other = again(step)
    assert repr(other) == repr(step)
    for k in (1, 2, 3):
        before = params
        params, state = (other, step, other)[k - 1](stream[k], state, params)
        assert_same_bits((params, state), expected[k], f"step {k}")
        assert (params["matrix"] is before["matrix"]) == donate


def test_a_transformation_that_is_none() -> None:
    with pytest.raises(uniopt.errors.HyperparameterError, match=r"uniopt\.adam"):
        uniopt.compile(uniopt.adam)  # type: ignore[arg-type]  # the mistake


# Threads


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_two_threads_with_one_step(library: str, name: str) -> None:
    """Each thread has its own parameters; the step and its programs are shared."""
    tx = build(name)
    step = uniopt.compile(tx)
    starts = [[normal((name, i), "float32")(2000 + 300 * (i % 2))] for i in range(4)]
    stream = [[[normal((name, i, k), "float32")(2000 + 300 * (i % 2))] for k in range(20)] for i in range(4)]
    expected = [list(compiled(tx, copied(start), grads, 20))[-1] for start, grads in zip(starts, stream, strict=True)]
    expected = copied(expected)
    found: list[Any] = [None] * 4

    def work(i: int) -> None:
        own = in_torch if library == "torch" else copied
        params = own(starts[i])
        state = tx.init(params)
        for grads in stream[i]:
            params, state = step(own(grads), state, params)
        found[i] = params, state

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, wanted in enumerate(expected):
        assert found[i] is not None, f"thread {i} failed"
        assert_same_bits(found[i], wanted, f"thread {i}")


def test_torch_threads_are_torchs() -> None:
    """A step inside of a worker of torch's own, such as a hook that autograd calls."""
    w = torch.nn.Parameter(torch.ones(3))
    tx = uniopt.sgd(0.5)
    state, step = tx.init([w]), uniopt.compile(tx)
    w.register_post_accumulate_grad_hook(lambda p: step([p.grad], state, [p]) and None)
    (2 * w).sum().backward()
    assert w.tolist() == [0.0, 0.0, 0.0]


def test_an_extra_number_is_where_the_leaves_are() -> None:
    found: list[Any] = []

    def update(updates: Any, state: Any, params: Any = None, *, value: Any, **extra: Any) -> Any:
        found.append(value.device)
        return updates, state

    step = uniopt.compile(uniopt.GradientTransformation(lambda params: uniopt.EmptyState(), update))
    leaf = torch.ones(3, device="meta")
    with pytest.warns(EagerStepWarning, match="on meta"):
        step([leaf], uniopt.EmptyState(), [leaf.clone()], value=2.0)
    assert found == [torch.device("meta")]
