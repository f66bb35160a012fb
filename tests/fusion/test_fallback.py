"""What cannot be recorded runs eagerly: right, in place, and with one warning that names the line and the operation."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import uniopt
from tests.fusion.walks import assert_same_bits, copied, eager, in_torch, normal
from uniopt.errors import EagerStepWarning, NotWritableError, ShapeError

Rule = Callable[..., Any]


class Slots(NamedTuple):
    m: Any


def init(xp: Any, p: Any) -> dict[str, Any]:
    return {"m": xp.zeros_like(p)}


def branch(xp: Any, g: Any, s: Any) -> Any:
    if xp.sum(g) > 0:
        return -g, s._replace(m=g)
    return g, s


def loop(xp: Any, g: Any, s: Any) -> Any:
    while xp.max(xp.abs(g)) > 1:
        g = g / 2
    return -g, s._replace(m=s.m + g)


def number(xp: Any, g: Any, s: Any) -> Any:
    return -g * float(xp.max(g)), s


def square_root(xp: Any, g: Any, s: Any) -> Any:
    return -g / math.sqrt(xp.sum(g * g)), s


def item(xp: Any, g: Any, s: Any) -> Any:
    return -g * xp.max(g).item(), s


def numpy_call(xp: Any, g: Any, s: Any) -> Any:
    return -np.tanh(g), s._replace(m=g)


def numpy_sum(xp: Any, g: Any, s: Any) -> Any:
    return -g * np.linalg.norm(g), s


def method(xp: Any, g: Any, s: Any) -> Any:
    return -g * g.sum(), s


def chosen_elements(xp: Any, g: Any, s: Any) -> Any:
    return -g + xp.sum(g[g > 0]), s


def written_to(xp: Any, g: Any, s: Any) -> Any:
    update = -1 * g
    update[0] = 0
    return update, s


def torch_call(xp: Any, g: Any, s: Any) -> Any:
    return -torch.tanh(g), s._replace(m=g)


BY_NUMPY: dict[Rule, str] = {
    branch: "a Python branch",
    loop: "a Python branch",
    number: "float()",
    square_root: "float()",
    item: ".item()",
    numpy_call: "numpy.tanh",
    numpy_sum: "a NumPy function",
    method: ".sum",
    chosen_elements: "indexing by an array",
    written_to: "writing into an array",
}
BY_TORCH: dict[Rule, str] = {branch: "a Python branch", number: "float()", torch_call: "tanh", written_to: "writing"}


def run(tx: uniopt.GradientTransformation, params: Any, stream: list[Any]) -> tuple[Any, list[warnings.WarningMessage]]:
    """Return the parameters and the state after the steps, and what was warned of."""
    state, step = tx.init(params), uniopt.compile(tx)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for grads in stream:
            params, state = step(grads, state, params)
    return (params, state), caught


def check_warning(caught: list[warnings.WarningMessage], rule: Rule, operation: str) -> None:
    """Fail unless there is one warning, at the step's call, that names the line in the rule and the operation."""
    assert [(x.category, x.filename) for x in caught] == [(EagerStepWarning, __file__)]
    message = str(caught[0].message)
    lines, first = inspect.getsourcelines(rule)
    named = [line for n, line in enumerate(lines, first) if f"({__file__}:{n}: {line.strip()})" in message]
    assert len(named) == 1, message
    assert operation in message


@pytest.mark.parametrize(("rule", "operation"), BY_NUMPY.items(), ids=[rule.__name__ for rule in BY_NUMPY])
def test_numpy(rule: Rule, operation: str) -> None:
    make = normal(rule.__name__, "float32")
    params, stream = {"a": make(3, 4), "b": make(7)}, [{"a": make(3, 4), "b": make(7)} for _ in range(3)]
    tx = uniopt.leafwise(Slots, init, rule)
    *_, expected = eager(tx, copied(params), stream, 3)
    given = params["a"]
    found, caught = run(tx, params, stream)
    check_warning(caught, rule, operation)
    assert_same_bits(found, expected, "after three steps")
    assert found[0]["a"] is given


@pytest.mark.parametrize(("rule", "operation"), BY_TORCH.items(), ids=[rule.__name__ for rule in BY_TORCH])
def test_torch(rule: Rule, operation: str) -> None:
    make = normal(rule.__name__, "float32")
    params, stream = in_torch([make(3, 4), make(7)]), [in_torch([make(3, 4), make(7)]) for _ in range(3)]
    tx = uniopt.leafwise(Slots, init, rule)
    *_, expected = eager(tx, uniopt.tree.map(torch.clone, params), stream, 3)
    given = params[0]
    found, caught = run(tx, params, stream)
    check_warning(caught, rule, operation)
    assert_same_bits(found, expected, "after three steps")
    assert found[0][0] is given


def test_a_schedule_with_a_branch() -> None:
    def schedule(count: Any) -> Any:
        return 0.5 if count < 2 else 0.25

    params, caught = run(uniopt.sgd(schedule), [np.zeros(3)], [[np.ones(3)]] * 3)
    check_warning(caught, schedule, "a Python branch")
    assert np.array_equal(params[0][0], [-1.25] * 3)


# Results take the places of what they replace, whatever they are


def exchanged(xp: Any, g: Any, s: Any, *, p: Any) -> Any:
    bool(xp.all(g == g))  # noqa: PLR0124  # true but for NaN
    return s.m - p, s._replace(m=p)


def test_a_parameter_and_a_slot_that_change_places() -> None:
    tx = uniopt.leafwise(Slots, lambda xp, p: {"m": 2 * p}, exchanged)
    (params, state), caught = run(tx, [np.asarray([1.0, 2.0])], [[np.ones(2)]])
    assert len(caught) == 1
    assert params[0].tolist() == [2.0, 4.0]
    assert state.m[0].tolist() == [1.0, 2.0]


def test_views_of_parameters_in_the_state() -> None:
    def rule(xp: Any, g: Any, s: Any, *, p: Any) -> Any:
        bool(xp.all(g == g))  # noqa: PLR0124  # true but for NaN
        return -g, s._replace(m=p[::-1])

    (params, state), _ = run(uniopt.leafwise(Slots, init, rule), [np.asarray([1.0, 2.0])], [[np.ones(2)]])
    assert params[0].tolist() == [0.0, 1.0]
    assert state.m[0].tolist() == [2.0, 1.0]


def test_numpy_scalars() -> None:
    (params, _), _ = run(uniopt.leafwise(Slots, init, number), {"a": np.float32(2.0)}, [{"a": np.float32(3.0)}] * 2)
    assert isinstance(params["a"], np.float32)
    assert params["a"] == 2.0 - 9.0 - 9.0


@pytest.mark.parametrize("rule", [branch, lambda xp, g, s: (-g, s)])
def test_without_donation(rule: Rule) -> None:
    tx = uniopt.leafwise(Slots, init, rule)
    params = [np.zeros(3)]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        after, _ = uniopt.compile(tx, donate=False)([np.ones(3)], tx.init(params), params)
    assert np.array_equal(after[0], [-1.0] * 3)
    assert np.array_equal(params[0], [0.0] * 3)


def test_a_state_that_changes_its_shape_or_dtype() -> None:
    """It can have no memory of its own, so it is returned as it comes."""

    def make_init(params: Any) -> Any:
        return {"history": np.zeros(0), "precise": np.zeros(1, np.float32)}

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        longer = np.concatenate([np.asarray(state["history"]), [1.0]])
        return uniopt.tree.map(lambda g: -g, updates), {"history": longer, "precise": np.zeros(1, np.float64)}

    tx = uniopt.GradientTransformation(make_init, update)
    (params, state), caught = run(tx, {"w": np.zeros(2)}, [{"w": np.ones(2)}] * 3)
    assert params["w"].tolist() == [-3.0, -3.0]
    assert state["history"].tolist() == [1.0, 1.0, 1.0]
    assert state["precise"].dtype == np.float64
    assert {x.category for x in caught} == {EagerStepWarning}


# Errors are the eager step's own, and come without a warning


def mistaken(xp: Any, g: Any, s: Any) -> Any:
    return {}["missing"], s


def misshapen(xp: Any, g: Any, s: Any) -> Any:
    return g, s._replace(m=xp.sum(s.m))


@pytest.mark.parametrize(("rule", "error"), [(mistaken, KeyError), (misshapen, uniopt.errors.StateError)])
def test_a_rule_with_a_mistake(rule: Rule, error: type[Exception]) -> None:
    tx = uniopt.leafwise(Slots, init, rule)
    params = [np.ones(2)]
    with pytest.raises(error):
        uniopt.compile(tx)([np.ones(2)], tx.init(params), params)
    assert params[0].tolist() == [1.0, 1.0]


def test_errors_of_the_trees() -> None:
    tx = uniopt.adam(0.1)
    params = {"w": np.ones(2)}
    state, step = tx.init(params), uniopt.compile(tx)
    wrong: list[tuple[Any, type[Exception], str]] = [
        (({"w": np.ones(3)}, state, params), ShapeError, r"updates\['w'\] has shape \(3,\)"),
        (({"v": np.ones(2)}, state, params), uniopt.errors.TreeStructureError, "different leaves"),
        (
            ({"w": np.ones(2)}, uniopt.sgd(0.1).init(params), params),
            uniopt.errors.StateError,
            "scale_by_adam was given",
        ),
        (({"w": np.ones(2)}, tx.init({"w": torch.ones(2)}), params), uniopt.errors.StateError, r"state\[0\].*torch"),
        (({"w": torch.ones(2)}, state, params), uniopt.errors.MixedLibrariesError, "torch"),
        (({"w": np.ones(2)}, state, None), uniopt.errors.MissingParamsError, r"step\(grads, state, params\)"),
        (({"w": np.ones(2, int)}, state, {"w": np.ones(2, int)}), uniopt.errors.LeafError, r"params\['w'\]"),
        (({"w": "x"}, state, {"w": "x"}), uniopt.errors.LeafError, "str"),
    ]
    for arguments, error, message in wrong:
        with pytest.raises(error, match=message):
            step(*arguments)
    assert params["w"].tolist() == [1.0, 1.0]
    after, _ = step({"w": np.ones(2)}, state, params)
    assert np.allclose(after["w"], 0.9)


def test_a_missing_extra_argument() -> None:
    tx = uniopt.polyak_sgd()
    params = [np.ones(2)]
    with pytest.raises(uniopt.errors.MissingArgumentError, match="value"):
        uniopt.compile(tx)([np.ones(2)], tx.init(params), params)


def test_nothing_is_written_where_one_of_several_leaves_is_read_only() -> None:
    tx = uniopt.leafwise(Slots, init, branch)
    params = [np.ones(2), np.ones(3)]
    params[1].flags.writeable = False
    state = tx.init(params)
    with pytest.raises(NotWritableError, match=r"^params\[1\] is read-only"):
        uniopt.compile(tx)([np.ones(2), np.ones(3)], state, params)
    assert params[0].tolist() == [1.0, 1.0]
    assert state.m[0].tolist() == [0.0, 0.0]


# Devices


def test_tensors_without_memory() -> None:
    params = [torch.ones(3, device="meta")]
    (after, _), caught = run(uniopt.adamw(0.1), params, [[torch.ones(3, device="meta")]] * 2)
    assert after[0] is params[0]
    assert [x.category for x in caught] == [EagerStepWarning]
    assert "a tensor on meta" in str(caught[0].message)


def test_sparse_gradients() -> None:
    grads = torch.tensor([0.0, 2.0, 0.0]).to_sparse()
    params = [torch.ones(3)]
    (after, _), caught = run(uniopt.sgd(0.5), params, [[grads]] * 2)
    assert after[0].tolist() == [1.0, -1.0, 1.0]
    assert after[0] is params[0]
    assert "layout torch.sparse_coo" in str(caught[0].message)
