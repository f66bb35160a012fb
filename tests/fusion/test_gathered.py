"""What is gathered from several leaves, numbers and arrays, where some gradients are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import uniopt
from tests.fusion.devices import Host, numpy_on, require_compiler
from tests.fusion.test_missing_gradients import scaled_by, walk
from tests.fusion.test_recompilation import patterns
from tests.fusion.walks import build, gradients, normal, odd_tree

Gathering = Callable[[Any, list[Any]], Any]


@contextmanager
def on(where: str) -> Iterator[None]:
    """Run NumPy's compiled steps on the host, or on what stands for a device there."""
    if where == "host":
        yield
        return
    require_compiler()
    with numpy_on(Host()):
        yield


def squares(xp: Any, g: Any) -> Any:
    return xp.sum(g * g)


STARTS: dict[str, Gathering] = {
    "a sum": lambda xp, gs: reduce(add, [squares(xp, g) for g in gs], xp.asarray(0.75)),
    "a maximum": lambda xp, gs: reduce(xp.maximum, [squares(xp, g) for g in gs], xp.asarray(20.0)),
    "a number": lambda xp, gs: reduce(add, [squares(xp, g) for g in gs], 0.75),
    "one for each": lambda xp, gs: reduce(add, [xp.asarray(0.75) + squares(xp, g) for g in gs]),
}


def moments(xp: Any, g: Any) -> Any:
    """Return three numbers of a leaf, as an array."""
    return xp.stack([xp.sum(g), xp.sum(g * g), xp.sum(xp.abs(g))])


ARRAYS: dict[str, Gathering] = {
    "sums": lambda xp, gs: 1.0 + xp.sum(xp.abs(reduce(add, [moments(xp, g) for g in gs]))),
    "maxima": lambda xp, gs: 1.0 + xp.sum(xp.abs(reduce(xp.maximum, [0.5 * moments(xp, g) for g in gs]))),
    "sums and maxima": lambda xp, gs: (
        1.0
        + xp.sum(xp.abs(reduce(xp.maximum, [moments(xp, g) for g in gs])))
        + xp.sum(reduce(add, [moments(xp, g) for g in gs]) ** 2)
    ),
}


def some(seed: str, steps: int = 14) -> tuple[Any, list[Any]]:
    """Return parameters, and gradients of which some are missing."""
    return odd_tree(normal(seed, "float64")), patterns(gradients(seed, "float64", steps), 4)


@pytest.mark.parametrize("name", STARTS)
def test_a_start_is_no_part_of_the_first_leaf(name: str, recordings: list[int]) -> None:
    params, stream = some("starts")
    found = walk(scaled_by(STARTS[name]), params, stream, recordings)
    assert found[-1] == found[0]


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str, recordings: list[int]) -> None:
    params, stream = some("arrays")
    found = walk(scaled_by(ARRAYS[name]), params, stream, recordings)
    assert found[-1] == found[0] or name == "sums and maxima"  # what is missing would have to be 0, and less than all


@pytest.mark.parametrize("where", ["host", "device"])
def test_a_number_that_is_added_up_and_compared(where: str) -> None:
    """What a missing one is replaced by is 0 in the sum, and less than all in the maximum."""

    def both(xp: Any, gs: list[Any]) -> Any:
        numbers = [squares(xp, g) for g in gs]
        return 1.0 + reduce(add, numbers) + reduce(xp.maximum, numbers)

    params, stream = some("both")
    with on(where):
        walk(scaled_by(both), params, stream, [])


def alike(steps: int) -> tuple[Any, list[Any]]:
    """Return five leaves of one shape, and gradients of which some are missing."""
    make = normal("alike", "float64")
    params = [make(4, 3) for _ in range(5)]
    return params, patterns([[make(4, 3) for _ in params] for _ in range(steps)], 6)


def towards(gathered: Callable[[Any, list[Any]], Any]) -> uniopt.GradientTransformation:
    """Return gradient descent in which each leaf goes with what is gathered of all, which is an array."""

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        there = [g for g in updates if g is not None]
        if not there:
            return updates, state
        shared = gathered(there[0].__array_namespace__(), there)
        found = [None if g is None else -0.125 * (g + shared) for g in updates]
        return found, [s if g is None else s + 0.5 * g * shared for g, s in zip(updates, state, strict=True)]

    return uniopt.GradientTransformation(lambda params: [0.0 * p for p in params], update)


WHOLE: dict[str, Gathering] = {
    "the largest": lambda xp, gs: reduce(xp.maximum, [xp.abs(g) for g in gs]),
    "the least, and what is made of it": lambda xp, gs: 0.5 * reduce(xp.minimum, [g * g for g in gs]) + 0.25,
    "columns": lambda xp, gs: reduce(add, [xp.sum(g * g, axis=0) for g in gs]),
    "products": lambda xp, gs: reduce(add, [g @ xp.permute_dims(g, (1, 0)) @ g for g in gs]),
}
OTHERS: dict[str, Gathering] = {
    "with the first one": lambda xp, gs: reduce(add, [0.5 * g for g in gs]) / (1.0 + squares(xp, gs[0])),
    "gradients themselves": lambda xp, gs: reduce(add, gs),
    "views": lambda xp, gs: reduce(add, [xp.flip(g, axis=0) for g in gs]),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("where", ["host", "device"])
def test_arrays_of_all_leaves_of_a_shape(name: str, where: str, recordings: list[int]) -> None:
    params, stream = alike(14)
    with on(where):
        found = walk(towards(WHOLE[name]), params, stream, recordings)
    assert found[-1] == found[0]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("where", ["host", "device"])
def test_what_no_program_can_do_for_all_patterns_is_right_as_well(name: str, where: str) -> None:
    params, stream = alike(14)
    with on(where):
        walk(towards(OTHERS[name]), params, stream, [])


@pytest.mark.parametrize("where", ["host", "device"])
def test_what_is_gathered_may_be_a_state_too(where: str, recordings: list[int]) -> None:
    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        parts = [None if g is None else 0.5 * s + g for g, s in zip(updates, state, strict=True)]
        there = [x for x in parts if x is not None]
        shared = reduce(add, there) if there else 0.0
        found = [None if x is None else -0.125 * (x + shared) for x in parts]
        return found, [s if x is None else x for x, s in zip(parts, state, strict=True)]

    params, stream = alike(14)
    with on(where):
        tx = uniopt.GradientTransformation(lambda params: [0.0 * p for p in params], update)
        found = walk(tx, params, stream, recordings)
    assert found[-1] == found[0]


@pytest.mark.parametrize("name", ["adafactor", "lamb", "muon", "noisy_sgd"])
def test_leaves_of_one_shape_have_parts_of_their_own(name: str, recordings: list[int]) -> None:
    """They read the same arrays, such as the positions that their noise is drawn for."""
    params, stream = alike(10)
    found = walk(build(name), params, stream, recordings)
    assert found[-1] == found[0]


def of_examples(numbers: list[int], dtype: str = "float64") -> tuple[Any, list[Any]]:
    """Return parameters, and gradients of so many examples in each step, some of them missing."""
    make, draw = normal("examples", "float64"), normal("gradients of examples", dtype)
    shapes = ((4, 3), (), (5,), (4, 3), (0, 2))
    stream = [[draw(n, *shape) for shape in shapes] for n in numbers]
    return [make(*shape) for shape in shapes], patterns(stream, 7)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("where", ["host", "device"])
def test_examples(where: str, dtype: str, recordings: list[int]) -> None:
    """A batch of another size is another program; each serves all patterns."""
    params, stream = of_examples([3, 3, 3, 3, 2, 2, 3, 2, 3, 3, 2, 2, 3, 3], dtype)
    tx = uniopt.dpsgd(0.125, l2_norm_clip=1.0, noise_multiplier=0.5, seed=3, momentum=0.5)
    with on(where):
        found = walk(tx, params, stream, recordings)
    assert found[-1] == found[4]


def test_a_gradient_that_comes_late(recordings: list[int]) -> None:
    """What it will be like is not known before: it is expected to be like the others."""
    params, stream = of_examples([3] * 6)
    whole = [
        [np.zeros((3, *p.shape)) if g is None else g for g, p in zip(tree, params, strict=True)] for tree in stream
    ]
    late = [[None, *tree[1:3], *tree[3:]] if k < 3 else tree for k, tree in enumerate(whole)]
    late[4][2] = late[5][0] = None
    tx = uniopt.differentially_private_aggregate(l2_norm_clip=1.0, noise_multiplier=0.5, seed=3)
    found = walk(tx, params, late, recordings)
    assert found[2] == found[0]
    assert found[-1] == found[3]  # no gradient is missing, which is a program for that alone


def test_a_gradient_that_comes_late_and_shares_memory() -> None:
    """It is larger than the parameter that stood for it, and read when the other parameter has been written."""

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        there = [g for g in updates if g is not None]
        xp = there[0].__array_namespace__()
        scale = 1.0 + reduce(add, [xp.sum(g * g) for g in there])
        first, second = updates
        late = None
        if first is not None:
            scaled = first / scale
            late = xp.sum(scaled / (1.0 + xp.sum(scaled * scaled)), axis=0)
        return [late, None if second is None else xp.sum(second, axis=0)], state

    memory = normal("shared", "float64")(36)
    grad, other = memory.reshape(3, 4, 3), memory[24:].reshape(4, 3)
    params = [np.ones((4, 3)), other]
    rest = normal("rest", "float64")(3, 4, 3)
    tx = uniopt.GradientTransformation(lambda params: (), update)
    state, step = tx.init(params), uniopt.compile(tx)
    params, state = step([None, rest], state, params)
    expected = [np.array(p) for p in params]
    for k, grads in enumerate(([grad, rest], [None, rest], [grad, None], [grad, rest])):
        found, _ = tx.update([None if g is None else np.array(g) for g in grads], state, expected)
        expected = uniopt.apply_updates(expected, found)
        params, state = step(grads, state, params)
        for x, y in zip(params, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, err_msg=str(k))


def test_gradients_of_another_dtype(recordings: list[int]) -> None:
    """A missing gradient has the dtype that it had, not that of its parameter."""
    make = normal("dtypes", "float32")
    params = [make(4, 3) for _ in range(5)]
    stream = [[make(4, 3).astype(ml_dtypes.bfloat16) for _ in params] for _ in range(12)]
    stream = [stream[0], *patterns(stream[1:], 8)]
    tx = uniopt.adam(0.125)
    state, step = tx.init(params), uniopt.compile(tx)
    found = []
    for grads in stream:
        params, state = step(grads, state, params)
        found.append(len(recordings))
    assert found[-1] == found[1]
