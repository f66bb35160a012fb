"""Integers in the state: numbers of steps that are read, set and scheduled as the other hyperparameters are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uniopt.backends.fusion.step import FusedStep
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import EVERYWHERE, float64, require
from tests.properties.problems import moved
from tests.transforms.integers import (
    CASES,
    INNER,
    SWITCH,
    F,
    assert_close,
    assert_same_bits,
    assert_set,
    eagerly,
    expected,
    gradients,
    start_of,
    switched,
)
from uniopt.errors import HyperparameterError, MixedLibrariesError, ScheduleError, StateError


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("library", EVERYWHERE)
def test_the_steps_are_those_of_the_integers(name: str, library: str) -> None:
    """From the first one, and from the step on before which others are set: every bit of parameters and state."""
    case, backend = CASES[name], require(library)
    tx = case.injected()
    params, state = switched(case, backend, eagerly(tx), tx)
    assert state.hyperparams.keys() == case.integers.keys()
    assert_set(case, state, backend)
    if (library, name) == ("jax", "params_ema"):  # its scalars are of float64, unless they are made of arrays
        assert_close((params, state.inner_state), expected(case, backend), backend, 1e-6)
    else:
        assert_same_bits((params, state.inner_state), expected(case, backend), backend)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "mlx"])
def test_a_compiled_step_is_compiled_once(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, record = [], FusedStep._record
    monkeypatch.setattr(FusedStep, "_record", lambda *args: made.append(None) or record(*args))
    case, backend = CASES[name], require(library)
    tx = case.injected()
    step = uniopt.compile(tx)
    params, state = switched(case, backend, step, tx)
    assert sum(map(len, step._programs.values())) == 1
    assert len(made) == (library in ("numpy", "torch"))
    assert_set(case, state, backend)
    assert_close((params, state.inner_state), expected(case, backend), backend)


@pytest.mark.parametrize("name", CASES)
def test_jax_traces_once(name: str) -> None:
    import jax

    case, backend, traces = CASES[name], require("jax"), []
    tx = case.injected()

    @jax.jit
    def step(grads: Any, state: Any, params: Any, value: Any) -> Any:
        traces.append(None)
        return eagerly(tx)(grads, state, params, value=value)

    def walk(grads: Any, state: Any, params: Any, value: float) -> Any:
        strong = {key: backend.asarray(x, dtype=backend.xp.int32) for key, x in state.hyperparams.items()}
        return step(grads, state._replace(hyperparams=strong), params, value)

    with jax.numpy_dtype_promotion("strict"):
        params, state = switched(case, backend, walk, tx)
    assert len(traces) == 1
    assert_close((params, state.inner_state), expected(case, backend), backend)


@pytest.mark.parametrize("name", ["MultiSteps", "lookahead", "params_mean", "reduce_on_plateau"])
def test_torch_traces_once(name: str) -> None:
    import torch
    from torch._dynamo.testing import CompileCounter

    case, backend = CASES[name], require("torch")
    tx = case.injected()
    torch._dynamo.reset()
    counter = CompileCounter()
    step = torch.compile(eagerly(tx), fullgraph=True, backend=counter)

    def walk(grads: Any, state: Any, params: Any, value: float) -> Any:
        arrays = {key: backend.asarray(x, dtype=backend.xp.int32) for key, x in state.hyperparams.items()}
        return step(grads, state._replace(hyperparams=arrays), params, value=torch.tensor(value))

    params, state = switched(case, backend, walk, tx)
    assert counter.frame_count == 1
    assert_same_bits((params, state.inner_state), expected(case, backend), backend)


@pytest.mark.parametrize("library", EVERYWHERE)
def test_in_float64(library: str) -> None:
    """Where the step is counted in the float64 that the integers have to meet."""
    case, backend = CASES["params_mean"], require(library)
    with float64(library):
        tx = case.injected()
        params, state = switched(case, backend, eagerly(tx), tx)
        assert_same_bits((params, state.inner_state), expected(case, backend), backend)


def test_a_schedule_is_rounded(backend: Backend) -> None:
    """It is a function of the count of update; what it returns is rounded to the nearest integer."""
    case = CASES["lookahead"]
    tx = case.injected(sync_period=uniopt.piecewise_constant_schedule(2.9, {SWITCH - 1: 2.1 / 2.9}))
    params = moved(start_of(case), backend)
    state, seen = tx.init(params), []
    for k in range(6):
        _, state = tx.update(moved(gradients(case, k), backend), state, params)
        value = state.hyperparams["sync_period"]
        assert backend.to_numpy(value).dtype == np.int32
        seen.append(int(value))
    assert seen == [3, 3, 3, 2, 2, 2]
    tx = case.injected(sync_period=lambda n: 2)
    assert backend.to_numpy(tx.init(params).hyperparams["sync_period"]).dtype == np.int32


def test_every_k_schedule_counts_updates() -> None:
    tx = CASES["MultiSteps"].injected(every_k_schedule=lambda n: 1 + n)
    params = np.ones(2)
    state = tx.init(params)
    assert state.hyperparams == {}
    moves = []
    for _ in range(6):
        updates, state = tx.update(params, state, params)
        moves.append(bool(updates.any()))
    assert moves == [True, False, True, False, False, True]


@pytest.mark.parametrize("value", [3, np.int64(3)])
def test_an_integer_may_be_set_before_the_first_compiled_step(backend: Backend, value: Any) -> None:
    tx = uniopt.inject_hyperparams(uniopt.lookahead)(INNER, 2, 0.5)
    params = moved(start_of(CASES["lookahead"]), backend)
    state, step = tx.init(params), uniopt.compile(tx)
    state.hyperparams["sync_period"] = value
    state.hyperparams["slow_step_size"] = 1
    for k in range(3):
        assert int(state.inner_state.steps_since_sync) == k
        params, state = step(moved(gradients(CASES["lookahead"], k), backend), state, params)
        state.hyperparams["sync_period"] = 3
    assert int(state.inner_state.steps_since_sync) == 0
    assert backend.to_numpy(state.hyperparams["slow_step_size"]).dtype == F
    if type(value) is int:
        assert sum(map(len, step._programs.values())) == 1


def test_saved_and_restored(tmp_path: Path) -> None:
    tx = CASES["lookahead"].injected()
    params = start_of(CASES["lookahead"])
    state = tx.init(params)
    state.hyperparams["sync_period"] = 4
    _, state = tx.update(gradients(CASES["lookahead"], 0), state, params)
    uniopt.save(tmp_path / "state.safetensors", state)
    loaded = uniopt.load(tmp_path / "state.safetensors", like=tx.init(params))
    assert (loaded.hyperparams["sync_period"].dtype, int(loaded.hyperparams["sync_period"])) == (np.int32, 4)
    for k in range(1, 5):
        (updates, state), (others, loaded) = (
            tx.update(gradients(CASES["lookahead"], k), s, params) for s in (state, loaded)
        )
        assert_same_bits((others, loaded), (updates, state), require("numpy"))


def test_which_integers_are_hyperparameters() -> None:
    params = {"w": np.ones((2, 3), F)}

    def names(make: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
        found = uniopt.inject_hyperparams(make)(*args, **kwargs).init(params).hyperparams
        return {name: str(x.dtype) for name, x in found.items()}

    def own(structure: int, steps: uniopt.Integer | None, rate: float, unknown, other: uniopt.Integer):
        assert (structure, type(structure)) == (2, int)
        return uniopt.scale(rate * unknown)

    assert names(own, 2, 3, 4, 5, other=np.asarray(6)) == {
        "steps": "int32", "rate": "float32", "unknown": "float32", "other": "int64"
    }  # fmt: skip
    own.__annotations__ = {"structure": int, "steps": uniopt.Integer | None, "other": uniopt.Integer}  # not strings
    assert names(own, 2, None, 4, 5, other=6) == {"rate": "float32", "unknown": "float32", "other": "int32"}
    assert names(uniopt.adafactor) == {
        "decay_rate": "float32", "decay_offset": "int32", "clipping_threshold": "float32", "eps": "float32"
    }  # fmt: skip
    assert "num_betas" not in names(uniopt.mechanize, uniopt.sgd(0.1))
    assert "ns_steps" not in names(uniopt.muon, 0.1)
    assert "key" not in names(uniopt.add_noise, 0.1, 0.5, key=1)
    assert "warmup_steps" not in names(uniopt.schedule_free_sgd, 0.1)
    keras = uniopt.dialects.keras.Adam
    assert names(keras, gradient_accumulation_steps=2, use_ema=True, ema_overwrite_frequency=2).keys() == {
        "learning_rate", "beta_1", "beta_2", "epsilon", "ema_momentum"
    }  # fmt: skip


def test_where_the_counter_is_elsewhere() -> None:
    """The hyperparameters are where the parameters meet, the counter is where the first of them is."""
    strict = require("array_api_strict")
    place = strict.xp.Device("device1")
    params = {"a": strict.xp.ones(2, dtype=strict.xp.float32), "b": strict.xp.ones(2, device=place)}
    for case in (CASES["MultiSteps"], CASES["apply_every"], CASES["params_mean"], CASES["apply_if_finite"]):
        tx = case.injected()
        state = tx.init(params)
        assert all(x.device == place for x in state.hyperparams.values())
        assert tx.update(params, state, params, value=1.0)[0]["a"].device == params["a"].device


WRONG = [
    (2.5, HyperparameterError, "hyperparameter sync_period is 2.5, expected an integer"),
    (2.0, HyperparameterError, "hyperparameter sync_period is 2.0, expected an integer"),
    (True, HyperparameterError, "hyperparameter sync_period is True, expected an integer"),
    (np.asarray(2.5), HyperparameterError, "hyperparameter sync_period is array.2.5., expected an integer"),
    (2**31, HyperparameterError, "hyperparameter sync_period is 2147483648, expected an integer of int32"),
    ("3", ScheduleError, "hyperparameter sync_period is '3'"),
]


@pytest.mark.parametrize(("value", "error", "text"), WRONG)
def test_wrong_values(backend: Backend, value: Any, error: type[Exception], text: str) -> None:
    case = CASES["lookahead"]
    params = moved(start_of(case), backend)
    tx = case.injected()
    state = tx.init(params)
    state.hyperparams["sync_period"] = value
    with pytest.raises(error, match=text):
        tx.update(params.fast, state, params)


@pytest.mark.parametrize("value", [2.5, np.float64(2.5), np.asarray(2.5)])
@pytest.mark.parametrize("taken", [0, 1])
def test_a_compiled_step_does_not_cut_off_what_is_no_integer(backend: Backend, value: Any, taken: int) -> None:
    case = CASES["lookahead"]
    params = moved(start_of(case), backend)
    tx = case.injected()
    state, step = tx.init(params), uniopt.compile(tx)
    for _ in range(taken):
        params, state = step(moved(gradients(case, 0), backend), state, params)
    state.hyperparams["sync_period"] = value
    with pytest.raises((HyperparameterError, StateError), match=r"sync_period.* expected an integer"):
        step(moved(gradients(case, 0), backend), state, params)


def test_wrong_integers_of_the_plain_ones() -> None:
    params = np.ones(2)
    tx, pair = CASES["lookahead"].injected(), start_of(CASES["lookahead"])
    state = tx.init(pair)._replace(hyperparams={"sync_period": 0})
    with pytest.raises(HyperparameterError, match=r"sync_period is array\(0.*, expected an integer not below 1"):
        tx.update(pair.fast, state, pair)
    with pytest.raises(HyperparameterError, match=r"k is 2\.5, expected an integer"):
        uniopt.inject_hyperparams(uniopt.apply_every)(2.5).init(params)
    jax = require("jax")
    for k in (jax.asarray(2.5), jax.asarray([2])):
        with pytest.raises(HyperparameterError, match=r"k is an array of jax .* not below 1 or a 0-d array"):
            uniopt.apply_every(k)
    tx = uniopt.apply_every(jax.asarray(2))
    with pytest.raises(MixedLibrariesError, match="k is an array of jax, the parameters are of numpy"):
        tx.update(params, tx.init(params), params)


def test_sam_in_opaque_mode() -> None:
    """The number of calls of a function is no array that has no value yet."""
    import jax

    def make(**own: Any) -> uniopt.GradientTransformation:
        return uniopt.inject_hyperparams(uniopt.sam, **own)(INNER, INNER, opaque_mode=True)

    params = moved(np.ones(2, F), require("jax"))

    def step(tx: Any) -> Any:
        return jax.jit(lambda s, p: tx.update(p, s, p, grad_fn=lambda q, i: q))(tx.init(params), params)

    with pytest.raises(HyperparameterError, match=r"sync_period is an array of jax of shape \(\) .*static_args"):
        step(make())
    step(make(static_args="sync_period"))


@pytest.mark.parametrize("name", ["lookahead", "sam"])
def test_a_count_that_is_beyond_what_is_set_has_reached_it(name: str) -> None:
    case, params = CASES[name], start_of(CASES[name])
    tx = case.injected()
    state = tx.init(params)
    for k in range(4):
        _, state = tx.update(gradients(case, k), state, params)
    assert int(state.inner_state.steps_since_sync) == 4
    state.hyperparams["sync_period"] = 2
    _, state = tx.update(gradients(case, 4), state, params)
    assert int(state.inner_state.steps_since_sync) == 0
