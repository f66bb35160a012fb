"""Steps with some gradients missing: one program does what eager steps do, and no pattern is recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from uniopt.backends.fusion.host import compile_turn
from uniopt.backends.fusion.recording import recording
from uniopt.backends.fusion.schedule import Turn
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.fusion.devices import Host, numpy_on, require_compiler
from tests.fusion.test_recompilation import patterns
from tests.fusion.test_registered import VARIANTS, exported, made
from tests.fusion.walks import build, copied, eager, gradients, normal, objective, odd_tree

GATHERING: dict[str, Callable[[], uniopt.GradientTransformation]] = {
    "a norm": lambda: uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adamw(0.125)),
    "one norm after another": lambda: uniopt.chain(
        uniopt.clip_by_global_norm(1.0), uniopt.normalize_by_update_norm(), uniopt.sgd(0.125)
    ),
    "counts of leaves under a condition": lambda: uniopt.apply_if_finite(uniopt.count_by_leaf(uniopt.adam(0.125)), 3),
    "leaves that begin one by one": lambda: uniopt.optimistic_gradient_descent(0.125),
}
UNABLE = {
    "flatten": "it has one vector of all leaves",
    **dict.fromkeys(("measure_with_ema", "monitor", "snapshot"), "what it is made with here looks at one leaf"),
}
CASES = [name for name in (*exported(), *VARIANTS, *SETTINGS.keys()) if name not in UNABLE]


def walk(tx: uniopt.GradientTransformation, params: Any, stream: list[Any], recordings: list[int]) -> list[int]:
    """Compare compiled steps with eager ones, and return how many recordings there were up to each step."""
    expected = [copied(x) for x in eager(tx, copied(params), stream, len(stream))]
    state, step, found = tx.init(params), uniopt.compile(tx), []
    for k, grads in enumerate(stream):
        params, state = step(grads, state, params, value=objective(k))
        after = uniopt.tree.leaves_with_paths(expected[k], "")
        for x, (path, y) in zip(uniopt.tree.leaves((params, state)), after, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11, err_msg=f"step {k}: {path}")
        found.append(len(recordings))
    return found


def case(name: str) -> tuple[uniopt.GradientTransformation, Any, list[Any]]:
    """Return a transformation, parameters, and gradients of which some are missing."""
    if name in GATHERING or name in SETTINGS:
        tx = GATHERING[name]() if name in GATHERING else build(name)
        params, stream = odd_tree(normal(name, "float64")), gradients(name, "float64", 14)
    else:
        tx, params, stream = made(name, "float64", 14)
    return tx, params, patterns(stream, 4)


@pytest.mark.parametrize("name", [*GATHERING, *CASES])
def test_no_pattern_is_recorded(name: str, recordings: list[int]) -> None:
    """Both sides of conditions have occurred, and gradients have been missing in both, after seven steps."""
    tx, params, stream = case(name)
    found = walk(tx, params, stream, recordings)
    assert found[0] > 0
    assert found[-1] == found[6]


@pytest.mark.parametrize(
    "name", [*GATHERING, "MultiSteps", "MultiSteps, of sums", "dpsgd", "muon", "torch's Adam", "mechanize"]
)
def test_no_pattern_is_recorded_on_a_device(name: str, recordings: list[int]) -> None:
    require_compiler()
    tx, params, stream = case(name)
    with numpy_on(Host()):
        found = walk(tx, params, stream, recordings)
    assert found[0] == found[-1] > 0


@pytest.mark.parametrize("name", GATHERING)
def test_without_any_gradient(name: str, recordings: list[int]) -> None:
    tx, params, stream = case(name)
    nothing = uniopt.tree.map(lambda x: None, stream[0])
    found = walk(tx, params, [*stream, nothing, *stream, nothing], recordings)
    assert found[-1] <= found[13] + 2  # nothing is gathered then, which is another recording


def test_what_the_library_computes_is_left_out() -> None:
    """Matrix products take long, unlike numbers."""
    with recording(lambda x: None) as made_here:
        x, g = made_here.input((3, 3), "float64"), made_here.input((2, 2), "float64")
        turn = Turn([x @ x, g @ g])
    run, _ = compile_turn(turn, (), {x: 0, g: 1}, set(turn.symbols), calls={turn.symbols[1]: 1})
    assert run is not None
    values: list[Any] = [None] * len(made_here.symbols)
    ones = np.ones((3, 3))
    run(values, [ones, "no matrix"], frozenset([1]))
    np.testing.assert_array_equal(values[turn.symbols[0].index], ones @ ones)
    assert values[turn.symbols[1].index].shape == (2, 2)
    run(values, [ones, ones[:2, :2]], frozenset())
    np.testing.assert_array_equal(values[turn.symbols[1].index], np.full((2, 2), 2.0))


def scaled_by(gathered: Callable[[Any, list[Any]], Any]) -> uniopt.GradientTransformation:
    """Return gradient descent whose step is divided by a number made of all gradients that are there."""

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        found = [g for g in uniopt.tree.leaves(updates) if g is not None]
        scale = gathered(found[0].__array_namespace__(), found) if found else 1.0
        return uniopt.tree.map(lambda g: None if g is None else -0.125 * g / scale, updates), state

    return uniopt.GradientTransformation(lambda params: (), update)


@pytest.mark.parametrize(
    "gathered",
    [
        lambda xp, gs: 1.0 + reduce(add, [xp.sum(g * g) for g in gs]) / len(gs),
        lambda xp, gs: 1.0 + xp.sum(gs[0] * gs[0]),
        lambda xp, gs: 1.0 + reduce(add, [xp.sum(g * g) for g in gs]) * (2.0 if len(gs) > 3 else 3.0),
        lambda xp, gs: reduce(add, [1.0 + xp.sum(g * g) for g in gs]),
        lambda xp, gs: 1.0 + reduce(xp.maximum, [xp.max(xp.abs(g)) for g in gs if 0 not in g.shape], xp.asarray(0.0)),
    ],
    ids=["mean", "first", "number", "shifted", "largest"],
)
def test_rules_that_count_the_leaves_are_right_as_well(gathered: Callable[[Any, list[Any]], Any]) -> None:
    params, stream = odd_tree(normal("missing", "float64")), patterns(gradients("missing", "float64", 12), 4)
    walk(scaled_by(gathered), params, stream, [])


@pytest.mark.parametrize(
    "factor",
    [
        lambda gs: 3.0 if sum(g is not None for g in gs) == 1 else 1.0,
        lambda gs: 3.0 if gs[0] is None and gs[1] is None else 1.0,
        lambda gs: 3.0 if gs[-1] is None and gs[-2] is None else 1.0,
    ],
    ids=["one alone", "not the first two", "not the last two"],
)
def test_rules_that_ask_which_leaves_are_there_are_right_as_well(factor: Callable[[list[Any]], float]) -> None:
    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        scale = factor(updates)
        return [None if g is None else -0.125 * g * scale for g in updates], state

    make = normal("which", "float64")
    params, whole = [make(3) for _ in range(4)], [make(3) for _ in range(4)]
    there = [*([True] * 4 for _ in range(2)), *([i == k for i in range(4)] for k in range(4))]
    stream = [[g if here else None for g, here in zip(whole, one, strict=True)] for one in (*there, *reversed(there))]
    walk(uniopt.GradientTransformation(lambda params: (), update), params, stream, [])


def test_a_step_without_any_gradient_that_a_rule_does_not_count() -> None:
    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if all(g is None for g in updates):
            return updates, state
        return [None if g is None else -0.125 * g for g in updates], state + 1

    make = normal("count", "float64")
    params, there = [make(3), make(2)], [make(3), make(2)]
    tx = uniopt.GradientTransformation(lambda params: np.asarray(0, dtype=np.int32), update)
    walk(tx, params, [there, [None, there[1]], [None, None], there, [None, None]], [])


def test_a_gradient_that_comes_back_in_another_layout() -> None:
    """Meanwhile its parameter stood for it, which has that layout."""
    draw = normal("layouts", "float64")
    params = [np.asfortranarray(draw(4, 3)), draw(2)]
    rows, columns, other = draw(4, 3), np.asfortranarray(draw(4, 3)), draw(2)
    stream = [
        [rows, other],
        [None, other],
        [columns, other],
        [rows, None],
        [None, other],
        [rows, other],
        [columns, other],
    ]
    walk(uniopt.sgd(0.125, momentum=0.5), params, stream, [])
