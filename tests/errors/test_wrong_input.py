"""Every wrong input gives an error at once that names the place, what was found and what to do; nothing is changed."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import uniopt
from uniopt import errors

TX = uniopt.adamw(1e-3)


def params() -> dict[str, Any]:
    return {"w": np.ones(3), "b": [np.ones(2), np.ones(())]}


def swapped(**changes: Any) -> dict[str, Any]:
    return {**params(), **changes}


def step(grads: Any = None, state: Any = None, values: Any = None, tx: Any = TX, **extra: Any) -> Any:
    values = params() if values is None else values
    return tx.update(params() if grads is None else grads, tx.init(values) if state is None else state, values, **extra)


def first_step(tx: Any) -> Any:
    return step(tx=tx)


def needs_value(xp: Any, g: Any, s: Any, *, value: Any) -> Any:
    return value * g, s


NEEDS_VALUE = uniopt.leafwise(uniopt.EmptyState, None, needs_value)

# What goes wrong: the call, the class of the error, and what the message must say.
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "missing leaf": (
        lambda: step({"w": np.ones(3)}),
        errors.TreeStructureError,
        ["Missing: updates['b']", "found ['w']"],
    ),
    "extra leaf": (
        lambda: step(swapped(c=np.ones(1))),
        errors.TreeStructureError,
        ["Not in params: updates['c']"],
    ),
    "shorter list": (
        lambda: step(swapped(b=[np.ones(2)])),
        errors.TreeStructureError,
        ["Missing: updates['b'][1]"],
    ),
    "reordered leaves": (
        lambda: step(swapped(b=[np.ones(()), np.ones(2)])),
        errors.ShapeError,
        ["updates['b'][0] has shape ()", "params['b'][0] has shape (2,)"],
    ),
    "tuple for list": (
        lambda: step(swapped(b=(np.ones(2), np.ones(())))),
        errors.TreeStructureError,
        ["params['b']", "a list", "a tuple", "same containers"],
    ),
    "OrderedDict for dict": (
        lambda: step(OrderedDict(params())),
        errors.TreeStructureError,
        ["a dict", "OrderedDict"],
    ),
    "leaf for container": (
        lambda: step(swapped(b=np.ones(2))),
        errors.TreeStructureError,
        ["params['b']", "a list", "a ndarray of shape (2,)"],
    ),
    "container for leaf": (
        lambda: step(swapped(w=[np.ones(3)])),
        errors.TreeStructureError,
        ["params['w']", "a ndarray of shape (3,)", "a list"],
    ),
    "gradient for a None parameter": (
        lambda: step({"a": np.ones(2)}, values={"a": None}),
        errors.TreeStructureError,
        ["params['a'] is None", "updates['a'] has shape (2,)"],
    ),
    "string leaf": (lambda: TX.init({"w": "abc"}), errors.LeafError, ["params['w'] is 'abc' of type str", "None"]),
    "function leaf": (lambda: TX.init({"w": len}), errors.LeafError, ["params['w']", "builtin_function_or_method"]),
    "object array": (
        lambda: TX.init({"w": np.asarray([None, 1], dtype=object)}),
        errors.LeafError,
        ["params['w'] has dtype object"],
    ),
    "string array": (lambda: TX.init({"w": np.asarray(["a"])}), errors.LeafError, ["params['w'] has dtype <U1"]),
    "unknown array type": (
        lambda: TX.init({"w": memoryview(b"abc").toreadonly()}),
        errors.LeafError,
        ["params['w']", "memoryview"],
    ),
    "integer parameters": (
        lambda: step({"w": np.ones(3)}, values={"w": np.ones(3, dtype=np.int64)}),
        errors.LeafError,
        ["params['w'] has dtype int64", "None as its gradient"],
    ),
    "boolean parameters": (
        lambda: step({"w": np.ones(3)}, values={"w": np.ones(3, dtype=np.bool_)}),
        errors.LeafError,
        ["params['w'] has dtype bool"],
    ),
    "integer parameters applied": (
        lambda: uniopt.apply_updates({"w": np.ones(3, dtype=np.int64)}, {"w": np.ones(3)}),
        errors.LeafError,
        ["params['w'] has dtype int64"],
    ),
    "shape mismatch": (
        lambda: step(swapped(w=np.ones(4))),
        errors.ShapeError,
        ["updates['w'] has shape (4,)", "params['w'] has shape (3,)"],
    ),
    "broadcasting by accident": (
        lambda: step(swapped(w=np.ones(1))),
        errors.ShapeError,
        ["updates['w'] has shape (1,)", "does not broadcast"],
    ),
    "broadcasting a number": (lambda: step(swapped(w=0.0)), errors.ShapeError, ["updates['w'] has shape ()"]),
    "broadcasting updates": (
        lambda: uniopt.apply_updates(params(), swapped(w=np.ones(1))),
        errors.ShapeError,
        ["updates['w'] has shape (1,)"],
    ),
    "complex gradient": (
        lambda: step(swapped(w=np.ones(3) * 1j)),
        errors.DtypeKindError,
        ["updates['w'] is complex (complex128)", "params['w'] is real"],
    ),
    "integer gradient": (
        lambda: step(swapped(w=np.ones(3, dtype=np.int64))),
        errors.DtypeKindError,
        ["updates['w'] is integer (int64)"],
    ),
    "state of another optimizer": (
        lambda: step(state=uniopt.nadamw(0.1).init(params())[0]),
        errors.StateError,
        ["ScaleByAdamState(count, mu, nu)"],
    ),
    "state of another chain": (
        lambda: step(state=uniopt.adam(0.1).init(params())),
        errors.StateError,
        ["tuple of 2", "tuple of 3 states"],
    ),
    "state of RMSprop": (
        lambda: step(state=uniopt.rmsprop(0.1).init(params())),
        errors.StateError,
        ["scale_by_adam was given a state ScaleByRmsState(nu)", "init"],
    ),
    "no state": (lambda: TX.update(params(), None, params()), errors.StateError, ["NoneType"]),
    "state of another tree": (
        lambda: step(state=TX.init({"w": np.ones(3)})),
        errors.StateError,
        ["belongs to another tree", "Missing: state.mu['b']"],
    ),
    "state of other shapes": (
        lambda: step(state=TX.init(swapped(w=np.ones(4)))),
        errors.StateError,
        ["state.mu['w'] has shape (4,)", "params['w'] has shape (3,)"],
    ),
    "state of shapes that broadcast": (
        lambda: step(state=TX.init(swapped(w=np.ones(1)))),
        errors.StateError,
        ["state.mu['w'] has shape (1,)", "needs shape (3,)"],
    ),
    "no parameters": (
        lambda: TX.update(params(), TX.init(params())),
        errors.MissingParamsError,
        ["add_decayed_weights needs the parameters", "tx.update(grads, state, params)"],
    ),
    "schedule of another shape": (
        lambda: first_step(uniopt.sgd(lambda count: np.ones(3))),
        errors.ScheduleError,
        ["learning_rate", "an array of shape (3,)"],
    ),
    "schedule of nothing": (
        lambda: first_step(uniopt.sgd(lambda count: None)),
        errors.ScheduleError,
        ["learning_rate", "returned None"],
    ),
    "missing value": (
        lambda: first_step(NEEDS_VALUE),
        errors.MissingArgumentError,
        ["needs_value needs the extra argument 'value'", "value=..."],
    ),
    "value of None": (
        lambda: step(tx=NEEDS_VALUE, value=None),
        errors.MissingArgumentError,
        ["'value'"],
    ),
    "several values": (
        lambda: step(tx=uniopt.polyak_sgd(), value=np.ones(3)),
        errors.ShapeError,
        ["value has shape (3,)", "one number"],
    ),
    "unknown library": (
        lambda: uniopt.backends.get("tensorflow"),
        errors.BackendNotAvailableError,
        ["'tensorflow'", "numpy", "register"],
    ),
    "mask without a leaf": (
        lambda: uniopt.adamw(0.1, mask={"w": True}).init(params()),
        errors.TreeStructureError,
        ["mask", "['w']", "['b'], ['w']"],
    ),
    "mask of numbers": (
        lambda: uniopt.adamw(0.1, mask=lambda params: {"w": 1, "b": False}).init(params()),
        errors.HyperparameterError,
        ["params['w'] is 1", "True or False"],
    ),
    "mask of other containers": (
        lambda: uniopt.adamw(0.1, mask={"w": True, "b": {"x": False}}).init(params()),
        errors.TreeStructureError,
        ["mask['b']", "a dict", "a list"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input(what: str) -> None:
    call, error, parts = WRONG[what]
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, errors.UnioptError)
    for part in parts:
        assert part in str(caught.value)
    assert str(caught.value).rstrip().endswith((".", ")"))


def test_nothing_is_changed_by_a_refused_update() -> None:
    values, state = params(), TX.init(params())
    grads = swapped(b=[np.ones(2), np.ones(3)])
    before = copy.deepcopy((values, state, grads))
    with pytest.raises(errors.ShapeError):
        TX.update(grads, state, values)
    same = uniopt.tree.map(lambda x, y: bool(np.array_equal(x, y)), (values, state, grads), before)
    assert all(uniopt.tree.leaves(same))


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: uniopt.adam(-1.0), ["learning_rate is -1.0", "not below 0"]),
        (lambda: uniopt.adam("fast"), ["learning_rate is 'fast'", "schedule"]),
        (lambda: uniopt.adam(float("nan")), ["learning_rate is nan"]),
        (lambda: uniopt.adam(np.ones(3)), ["learning_rate", "0-d array"]),
        (lambda: uniopt.adam(0.1, b1=1.0), ["b1 is 1.0", "[0, 1)"]),
        (lambda: uniopt.adam(0.1, b2=-0.1), ["b2 is -0.1", "[0, 1)"]),
        (lambda: uniopt.adam(0.1, eps=-1e-8), ["eps is -1e-08", "not below 0"]),
        (lambda: uniopt.adam(0.1, mu_dtype="int32"), ["mu_dtype is 'int32'", "bfloat16"]),
        (lambda: uniopt.adamw(0.1, weight_decay=-1), ["weight_decay is -1"]),
        (lambda: uniopt.sgd(0.1, momentum=1.5), ["momentum is 1.5", "[0, 1)"]),
        (lambda: uniopt.sgd(0.1, nesterov=True), ["nesterov", "momentum"]),
        (lambda: uniopt.rmsprop(0.1, nesterov=True), ["nesterov", "momentum"]),
        (lambda: uniopt.noisy_sgd(0.1, eta=-1), ["eta is -1"]),
        (lambda: uniopt.noisy_sgd(0.1, key=1, seed=2), ["key is 1", "seed is 2"]),
        (lambda: uniopt.cosine_decay_schedule(1.0, 0), ["decay_steps is 0"]),
        (lambda: uniopt.join_schedules([uniopt.constant_schedule(1.0)], [3]), ["1 schedules", "1 boundaries"]),
        (lambda: uniopt.chain(uniopt.adam), ["uniopt.adam(1e-3)"]),
        (lambda: uniopt.named_chain(("a", uniopt.adam(0.1)), ("a", uniopt.adam(0.1))), ["['a', 'a']"]),
        (lambda: uniopt.partition([uniopt.adam(0.1)], {"w": 0}), ["transforms is [", "expected a dict"]),
        (lambda: uniopt.path_labels([("w", "a")]), ["patterns is [('w', 'a')]", "expected a dict"]),
        (lambda: uniopt.monitor([np.max]), ["measures is [", "expected a dict"]),
        (lambda: uniopt.inject_hyperparams(uniopt.sgd(0.1)), ["inner_factory is chain(", "and not what it returns"]),
    ],
)
def test_hyperparameters_are_checked_when_the_optimizer_is_built(build: Callable[[], Any], parts: list[str]) -> None:
    with pytest.raises(errors.HyperparameterError) as caught:
        build()
    for part in parts:
        assert part in str(caught.value)
