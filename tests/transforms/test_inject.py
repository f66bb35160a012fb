"""Hyperparameters in the state: read, set, scheduled; the arithmetic of the plain optimizer; no compiling again."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from uniopt.backends.fusion.step import FusedStep
from uniopt.backends.protocol import Backend
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from tests.conftest import EVERYWHERE, float64, require
from tests.properties.error_unit import ulps
from tests.properties.problems import gradients, host, moved, parameters, settled, small_tree
from tests.shown import SHOWN
from uniopt.errors import HyperparameterError, ScheduleError, StateError

F = np.float32
FIRST = {name: next(iter(settings.values())) for name, settings in SETTINGS.items()}


def given(hyper: dict[str, Any]) -> dict[str, Any]:
    return {name: x.for_uniopt if isinstance(x, Written) else x for name, x in hyper.items()}


def walk(tx: Any, start: Any, stream: list[Any], backend: Backend) -> list[list[Any]]:
    """Return the parameters' leaves at the start and after each step."""
    params = moved(start, backend)
    state, steps = tx.init(params), [uniopt.tree.leaves(start)]
    for k, grads in enumerate(stream):
        updates, state = tx.update(moved(grads, backend), state, params, value=2.0 + k)
        params, state = settled((uniopt.apply_updates(params, updates), state), backend)
        steps.append(uniopt.tree.leaves(host(params, backend)))
    return steps


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "muon"])  # its matrices are of other trees
@pytest.mark.parametrize("library", ["numpy", "array_api_strict"])
def test_every_optimizer_takes_the_same_steps(name: str, library: str) -> None:
    """In float64 they are those of the plain one."""
    backend, make = require(library), getattr(uniopt, name)
    start, stream = parameters(1, tree=small_tree), gradients(2, 4, tree=small_tree)
    hyper = given(FIRST[name])
    injected = inspect.signature(make).parameters
    static = [key for key in injected if key in ("key", "min_step_size", "max_step_size")]
    expected = walk(make(**hyper), start, stream, backend)
    found = walk(uniopt.inject_hyperparams(make, static_args=static)(**hyper), start, stream, backend)
    assert ulps(found, expected).value <= 2


@pytest.mark.parametrize("name", EVERYWHERE)
def test_the_arithmetic_is_the_plain_one(name: str) -> None:
    """In float32 as well: of the numbers rounded to float32, and within a few ulp of those that are not."""
    backend = require(name)
    hyper = {"learning_rate": 1e-2, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.1}
    start, stream = parameters(3, F, tree=small_tree), gradients(4, 20, F, small_tree)
    found = walk(uniopt.inject_hyperparams(uniopt.adamw)(**hyper), start, stream, backend)
    rounded = walk(uniopt.adamw(**{key: float(F(x)) for key, x in hyper.items()}), start, stream, backend)
    assert ulps(found, rounded).value <= (0 if name == "numpy" else 2)
    assert ulps(found, walk(uniopt.adamw(**hyper), start, stream, backend)).value <= 4


@pytest.mark.parametrize("name", EVERYWHERE)
def test_in_float64_the_arithmetic_is_the_plain_one(name: str) -> None:
    backend = require(name)
    start, stream = parameters(3, tree=small_tree), gradients(4, 20, tree=small_tree)
    with float64(name):
        found = walk(uniopt.inject_hyperparams(uniopt.adamw)(1e-2), start, stream, backend)
        expected = walk(uniopt.adamw(1e-2), start, stream, backend)
    assert ulps(found, expected).value <= (0 if name == "numpy" else 2)


def test_values_are_set_between_steps(backend: Backend) -> None:
    params = moved(np.asarray([1.0, 2.0], F), backend)
    tx = uniopt.inject_hyperparams(uniopt.sgd)(learning_rate=0.5)
    state = tx.init(params)
    for value in (0.25, 2, np.float32(0.125), np.asarray(0.0625), backend.asarray(0.75, dtype=backend.xp.float32)):
        state.hyperparams["learning_rate"] = value
        updates, state = tx.update(params, state, params)
        rate = state.hyperparams["learning_rate"]
        np.testing.assert_array_equal(backend.to_numpy(updates), -float(value) * np.asarray([1.0, 2.0], F))
        assert (tuple(rate.shape), float(rate)) == ((), float(value))
        assert uniopt.backends.backend_of(rate) is backend
    state = state._replace(hyperparams={**state.hyperparams, "learning_rate": 3.0})
    updates, _ = tx.update(params, state, params)
    np.testing.assert_array_equal(backend.to_numpy(updates), [-3.0, -6.0])


def test_a_compiled_step_is_compiled_once(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    made, record = [], FusedStep._record
    monkeypatch.setattr(FusedStep, "_record", lambda *args: made.append(None) or record(*args))
    params = moved({"w": np.asarray([1.0, 2.0], F)}, backend)
    tx = uniopt.inject_hyperparams(uniopt.sgd)(learning_rate=0.5, momentum=uniopt.linear_schedule(0.0, 0.5, 4))
    state, step = tx.init(params), uniopt.compile(tx)
    plain_params, plain = moved({"w": np.asarray([1.0, 2.0], F)}, backend), state
    plain = tx.init(plain_params)
    grads = moved({"w": np.asarray([1.0, -1.0], F)}, backend)
    for value in (None, 0.25, 2, np.float64(0.125), None, backend.asarray(0.75, dtype=backend.xp.float32)):
        if value is not None:
            state.hyperparams["learning_rate"] = value + 0  # an array of its own: its memory is used again
            plain.hyperparams["learning_rate"] = value
        params, state = step(grads, state, params)
        updates, plain = tx.update(grads, plain, plain_params)
        plain_params = uniopt.apply_updates(plain_params, updates)
        np.testing.assert_allclose(host(params, backend)["w"], host(plain_params, backend)["w"], rtol=1e-6)
        for key in state.hyperparams:
            assert float(state.hyperparams[key]) == pytest.approx(float(plain.hyperparams[key]))
    assert sum(map(len, step._programs.values())) == 1
    assert len(made) == (backend.name in ("numpy", "torch", "cupy"))


@pytest.mark.parametrize("start", [0, 1, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_may_be_set_before_the_first_compiled_step(backend: Backend, dtype: str, start: int) -> None:
    """It becomes what it is in an eager step, and what is set afterwards needs no other program."""
    with float64(backend.name):
        if dtype not in backend.dtypes():
            pytest.skip(f"{backend.name} has no {dtype}")
        tx = uniopt.inject_hyperparams(uniopt.sgd)(learning_rate=0.5, momentum=0.5)
        params = moved(np.ones(2, F), backend, dtype)
        state, step = tx.init(params), uniopt.compile(tx)
        first = state.hyperparams["learning_rate"]
        values = (0.1, np.float64(0.2), 0.3, np.asarray(0.4, dtype), 1)
        for value in (*values[start:], *values[:start]):
            state.hyperparams["learning_rate"] = value
            params, state = step(moved(np.ones(2, F), backend, dtype), state, params)
            found = state.hyperparams["learning_rate"]
            assert (type(found), found.dtype) == (type(first), first.dtype)
            assert float(found) == np.asarray(value, dtype)
    assert sum(map(len, step._programs.values())) == 1


def test_jax_and_torch_trace_once() -> None:
    import jax
    import torch
    from torch._dynamo.testing import CompileCounter

    tx = uniopt.inject_hyperparams(uniopt.adam)(learning_rate=0.5)
    torch._dynamo.reset()
    counter, traces = CompileCounter(), []

    def step(grads: Any, state: Any, params: Any) -> Any:
        traces.append(None)
        return tx.update(grads, state, params)

    compiled = torch.compile(tx.update, fullgraph=True, backend=counter)
    for library, update in (("jax", jax.jit(step)), ("torch", compiled)):
        backend = require(library)
        params = moved(np.ones(3, F), backend)
        _, state = tx.update(params, tx.init(params), params)
        for k in range(4):
            state.hyperparams["learning_rate"] = backend.asarray(0.5 / (k + 1), dtype=backend.xp.float32)
            updates, state = update(params, state, params)
            np.testing.assert_allclose(backend.to_numpy(updates), -0.5 / (k + 1), rtol=1e-5)
    assert (counter.frame_count, len(traces)) == (1, 1)


def test_which_arguments_are_hyperparameters() -> None:
    params = {"w": np.ones((2, 3)), "b": np.ones(3)}

    def names(tx: Any) -> set[str]:
        return set(tx.init(params).hyperparams)

    mask = {"w": True, "b": False}
    adamw = uniopt.inject_hyperparams(uniopt.adamw)
    assert names(adamw(0.1)) == {"learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"}
    assert names(adamw(0.1, mask=mask, mu_dtype="float32", nesterov=True)) == names(adamw(0.1))
    assert names(adamw(0.1, mask=lambda params: mask, mu_dtype=np.float32)) == names(adamw(0.1))
    assert names(uniopt.inject_hyperparams(uniopt.adamw, static_args="b1")(0.1)) == names(adamw(0.1)) - {"b1"}
    assert names(uniopt.inject_hyperparams(uniopt.adamw, static_args=["b1", "eps"])(0.1)) == names(adamw(0.1)) - {
        "b1",
        "eps",
    }
    assert "min_dim_size_to_factor" not in names(uniopt.inject_hyperparams(uniopt.adafactor)(0.1))
    assert names(uniopt.inject_hyperparams(uniopt.MultiSteps)(uniopt.sgd(0.1), 2)) == {"every_k_schedule"}
    assert names(uniopt.inject_hyperparams(uniopt.noisy_sgd)(1)) == {"learning_rate", "eta", "gamma"}

    def made(rate, /, *rest, power, **others):
        return uniopt.scale(-(rate**power))

    tx = uniopt.inject_hyperparams(made)(0.5, 7, power=lambda n: n, other=3.0)
    assert names(tx) == {"rate", "power"}
    np.testing.assert_array_equal(tx.update(params, tx.init(params), params)[0]["b"], -1.0)


def test_dtypes_and_devices() -> None:
    strict = require("array_api_strict")
    tx = uniopt.inject_hyperparams(uniopt.sgd)(0.5)

    def rate(tree: Any, tx: Any = tx) -> Any:
        return tx.init(tree).hyperparams["learning_rate"]

    assert rate({"a": np.ones(2, np.float16), "b": np.ones(2, F)}).dtype == F
    assert rate({"a": np.ones(2, F), "b": np.ones(2, np.complex128)}).dtype == np.float64
    wide = uniopt.inject_hyperparams(uniopt.sgd, hyperparam_dtype="float64")(0.5)
    assert rate(np.ones(2, F), wide).dtype == np.float64
    assert rate(np.ones(2), uniopt.inject_hyperparams(uniopt.sgd)(np.asarray(0.5, F))).dtype == F
    away = strict.xp.ones(2, dtype=strict.xp.float32, device=strict.xp.Device("device1"))
    assert rate(away).device == away.device
    assert tx.update(away, tx.init(away), away)[0].device == away.device
    state = tx.init({})
    assert state.hyperparams["learning_rate"].dtype == F
    assert tx.update({}, state, {})[0] == {}


class Plain:
    """A stateful schedule without a base class."""

    def init(self) -> Any:
        return {"count": 0, "rate": 0.5, "done": False}

    def update(self, state: Any, *, value: Any, **extra_args: Any) -> Any:
        return {"count": state["count"] + 1, "rate": state["rate"] * value, "done": state["done"]}

    def __call__(self, state: Any, **extra_args: Any) -> Any:
        return state["rate"]


def test_stateful_schedules(backend: Backend) -> None:
    params = moved(np.ones(2, F), backend)
    tx = uniopt.inject_hyperparams(uniopt.scale)(Plain())
    assert isinstance(Plain(), uniopt.StatefulSchedule)
    state = tx.init(params)
    for expected in (0.5, 0.25, 0.125):
        updates, state = tx.update(params, state, value=0.5)
        np.testing.assert_array_equal(backend.to_numpy(updates), expected)
    kinds = {key: backend.to_numpy(x).dtype for key, x in state.hyperparams_states["step_size"].items()}
    assert kinds == {"count": np.int32, "rate": np.float32, "done": np.bool_}
    schedule = uniopt.WrappedSchedule(uniopt.constant_schedule(1.0))
    last = uniopt.WrappedScheduleState(backend.asarray(2**31 - 1, dtype=backend.xp.int32))
    assert int(schedule.update(last).count) == 2**31 - 1
    assert schedule.update(uniopt.WrappedScheduleState(2**31 - 1)).count == 2**31 - 1


def test_optaxs_optimizers_are_injected() -> None:
    import jax
    import optax

    params = moved(np.ones(3, F), require("jax"))
    tx = uniopt.inject_hyperparams(optax.adam)(0.5, b1=lambda n: 0.9)
    state, update = tx.init(params), jax.jit(tx.update)
    for rate in (0.5, 0.25):
        state.hyperparams["learning_rate"] = jax.numpy.asarray(rate, F)
        updates, state = update(params, state, params)
        np.testing.assert_allclose(updates, -rate, rtol=1e-5)


def test_it_is_a_value() -> None:
    make = uniopt.inject_hyperparams(uniopt.adam, static_args=("eps",), hyperparam_dtype="float64")
    tx = make(0.5, b1=uniopt.linear_schedule(0.9, 0.5, 3))
    assert tx == make(0.5, b1=uniopt.linear_schedule(0.9, 0.5, 3))
    assert tx != make(0.25)
    assert eval(repr(tx), dict(SHOWN)) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert pickle.loads(pickle.dumps(make))(0.5) == make(0.5)
    assert inspect.signature(make) == inspect.signature(uniopt.adam)
    assert make.__doc__ == uniopt.adam.__doc__
    assert uniopt.inject_stateful_hyperparams is uniopt.inject_hyperparams


def test_wrong_arguments_and_values() -> None:
    with pytest.raises(HyperparameterError, match=r"static_args names \['lr'\], expected .*scale.*: step_size"):
        uniopt.inject_hyperparams(uniopt.scale, static_args="lr")
    params = np.ones(2)
    tx = uniopt.inject_hyperparams(uniopt.adam)(0.5)
    state = tx.init(params)
    state.hyperparams["rate"] = state.hyperparams.pop("learning_rate")
    with pytest.raises(
        StateError, match=r"state\.hyperparams has b1, b2, eps, eps_root, rate, expected learning_rate, b1"
    ):
        tx.update(params, state, params)
    for name, value, error, text in (
        ("b2", 1.5, HyperparameterError, "b2 is array"),
        ("b2", "0.5", ScheduleError, "hyperparameter b2 is '0.5'"),
        ("b2", np.ones(2), ScheduleError, "hyperparameter b2 is"),
        ("b2", require("torch").asarray(0.5), StateError, r"state\.hyperparams\['b2'\] is an array of torch"),
    ):
        state = tx.init(params)
        state.hyperparams[name] = value
        with pytest.raises(error, match=text):
            tx.update(params, state, params)
