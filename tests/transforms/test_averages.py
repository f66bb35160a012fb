"""Averages of the parameters: torch's AveragedModel, the formulas, compiled steps in place, and taking them out."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import require
from tests.properties.problems import host, moved

STEPS = 12


def start() -> Any:
    return {"w": np.linspace(-1.0, 2.0, 6).reshape(2, 3), "rest": (np.asarray(0.5), np.zeros((0, 2)))}


def gradient(k: int) -> Any:
    return uniopt.tree.map(lambda x: np.cos(3 * x + k), start())


def path_of(tx: uniopt.GradientTransformation, steps: int = STEPS) -> list[tuple[Any, Any]]:
    """Return state and parameters before the first step and after each one."""
    params = start()
    found = [(tx.init(params), params)]
    for k in range(steps):
        state, params = found[-1]
        updates, state = tx.update(gradient(k), state, params)
        found.append((state, uniopt.apply_updates(params, updates)))
    return found


def with_average(average: uniopt.GradientTransformation) -> uniopt.GradientTransformation:
    return uniopt.chain(uniopt.sgd(0.25, momentum=0.5), average)


def averages(average: uniopt.GradientTransformation) -> tuple[list[Any], list[Any]]:
    """Return the averages after 0, 1, ... steps, and the parameters."""
    path = path_of(with_average(average))
    return [uniopt.averaged_params(*pair)["w"] for pair in path], [params["w"] for _, params in path]


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_running_mean_without_bias(decay: float) -> None:
    found, params = averages(uniopt.params_ema(decay))
    np.testing.assert_array_equal(found[0], params[0])
    for t in range(1, STEPS + 1):
        weights = [(1 - decay) * decay ** (t - s) for s in range(1, t + 1)]
        expected = sum(w * p for w, p in zip(weights, params[1:], strict=False)) / sum(weights)
        np.testing.assert_allclose(found[t], expected, rtol=1e-11, atol=1e-12)


def of_torch(params: list[Any], steps: Any, **kind: Any) -> list[Any]:
    """Return the averages of `AveragedModel`, which is given the parameters of some of the steps."""
    module = torch.nn.ParameterList([torch.from_numpy(np.array(params[0]))])
    averaged, found = AveragedModel(module, **kind), []
    for t, p in enumerate(params):
        with torch.no_grad():
            module[0].copy_(torch.from_numpy(p))
        if t in steps:
            averaged.update_parameters(module)
        found.append(averaged.module[0].detach().numpy().copy())
    return found


@pytest.mark.parametrize("decay", [0.25, 0.9, 0.999])
def test_the_running_mean_of_torch(decay: float) -> None:
    found, params = averages(uniopt.params_ema(decay, debias=False))
    expected = of_torch(params, range(STEPS + 1), multi_avg_fn=get_ema_multi_avg_fn(decay))
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("begin", "every"), [(0, 1), (4, 1), (0, 3), (5, 2), (2, 20)])
def test_the_mean_of_torch(begin: int, every: int) -> None:
    found, params = averages(uniopt.params_mean(begin, every))
    steps = range(begin + every, STEPS + 1, every)
    expected = of_torch(params, steps)
    for t in range(STEPS + 1):
        np.testing.assert_allclose(found[t], expected[t] if t >= begin + every else params[t], rtol=1e-14, atol=1e-15)
        taken = [params[s] for s in steps if s <= t]
        np.testing.assert_allclose(found[t], np.mean(taken, axis=0) if taken else params[t], rtol=1e-14, atol=1e-15)


def test_the_updates_are_not_changed() -> None:
    plain = path_of(uniopt.sgd(0.25, momentum=0.5))
    for average in (uniopt.params_ema(0.5), uniopt.params_mean()):
        for (_, x), (_, y) in zip(path_of(with_average(average)), plain, strict=True):
            np.testing.assert_array_equal(x["w"], y["w"])


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "mlx"])
@pytest.mark.parametrize("average", [uniopt.params_ema(0.75), uniopt.params_mean(1, 2)], ids=repr)
def test_a_compiled_step_averages_in_place(name: str, average: uniopt.GradientTransformation) -> None:
    backend = require(name)
    tx = with_average(average)
    start32, *stream = (uniopt.tree.map(lambda x: x.astype(np.float32), x) for x in (start(), *map(gradient, range(5))))
    params = moved(start32, backend)
    state, step = tx.init(params), uniopt.compile(tx)
    slot = state[1].average["w"]
    assert slot is not params["w"]
    expected, expected_state = moved(start32, backend), tx.init(moved(start32, backend))
    for g in stream:
        params, state = step(moved(g, backend), state, params)
        updates, expected_state = tx.update(moved(g, backend), expected_state, expected)
        expected = uniopt.apply_updates(expected, updates)
        for x, y in zip(uniopt.tree.leaves(state), uniopt.tree.leaves(expected_state), strict=True):
            np.testing.assert_allclose(backend.to_numpy(x), backend.to_numpy(y), rtol=1e-6, atol=1e-7)
    if name in ("numpy", "torch"):
        assert state[1].average["w"] is slot


def test_init_takes_copies_without_history(backend: Backend) -> None:
    p = backend.from_numpy(np.asarray([1.0, 2.0], np.float32))
    average = uniopt.params_ema(0.5).init({"p": p}).average["p"]
    assert average is not p
    if backend.name in ("numpy", "torch", "array_api_strict"):
        p[0] = 5.0
    np.testing.assert_array_equal(backend.to_numpy(average), [1.0, 2.0])
    parameter = torch.nn.Parameter(torch.ones(2))
    for dtype in (torch.float32, torch.bfloat16):
        state = uniopt.params_ema(0.5).init({"p": parameter.to(dtype)})
        assert not state.average["p"].requires_grad
        assert type(state.average["p"]) is torch.Tensor


def test_sixteen_bit_parameters_have_float32_averages_of_what_they_are() -> None:
    """bfloat16 parameters of 1 do not move by 1e-3, so their average does not either."""
    params = {"w": np.ones(2, ml_dtypes.bfloat16)}
    tx = uniopt.chain(uniopt.sgd(1e-3), uniopt.params_mean())
    state, history = tx.init(params), []
    for k in range(4):
        g = {"w": np.asarray([1.0, 10.0 * (k % 2)]).astype(ml_dtypes.bfloat16)}
        updates, state = tx.update(g, state, params)
        params = uniopt.apply_updates(params, updates)
        history.append(np.asarray(params["w"], np.float32))
    assert state[1].average["w"].dtype == np.float32
    np.testing.assert_allclose(state[1].average["w"], np.mean(history, axis=0), rtol=1e-6)
    assert state[1].average["w"][0] == 1.0
    assert uniopt.averaged_params(state, params)["w"].dtype == ml_dtypes.bfloat16
    narrow = uniopt.params_mean(accumulator_dtype="float16").init({"w": np.ones(2)})
    assert narrow.average["w"].dtype == np.float16


def test_swapping_twice_changes_nothing(backend: Backend) -> None:
    params = moved(uniopt.tree.map(lambda x: x.astype(np.float32), start()), backend)
    tx = uniopt.named_chain(("sgd", uniopt.sgd(0.5)), ("average", uniopt.params_mean()))
    state = tx.init(params)
    for k in range(2):
        g = moved(uniopt.tree.map(lambda x, k=k: (x + k).astype(np.float32), start()), backend)
        updates, state = tx.update(g, state, params)
        params = uniopt.apply_updates(params, updates)
    there, swapped = uniopt.swap_averaged_params(state, params)
    np.testing.assert_array_equal(host(there, backend)["w"], host(uniopt.averaged_params(state, params), backend)["w"])
    assert swapped["average"].average["w"] is params["w"]
    back, again = uniopt.swap_averaged_params(swapped, there)
    for x, y in zip(uniopt.tree.leaves((back, again)), uniopt.tree.leaves((params, state)), strict=True):
        assert x is y


def test_averages_of_parts() -> None:
    """What a mask leaves out has no average; the labels of a partition may have their own."""
    labels = {"w": "often", "rest": "seldom"}
    for tx, wanted in (
        (
            uniopt.chain(uniopt.sgd(0.25), uniopt.masked(uniopt.params_mean(), {"w": True, "rest": False})),
            (True, False),
        ),
        (
            uniopt.partition(
                {
                    "often": uniopt.chain(uniopt.sgd(0.25), uniopt.params_mean()),
                    "seldom": uniopt.chain(uniopt.sgd(0.25), uniopt.params_mean(0, 2)),
                },
                labels,
            ),
            (True, True),
        ),
    ):
        path = path_of(tx, 4)
        state, params = path[-1]
        found = uniopt.averaged_params(state, params)
        history = [p for _, p in path[1:]]
        w, scalar = np.mean([p["w"] for p in history], axis=0), np.mean([p["rest"][0] for p in history[1::2]])
        np.testing.assert_allclose(found["w"], w, rtol=1e-14)
        np.testing.assert_allclose(found["rest"][0], scalar if wanted[1] else params["rest"][0], rtol=1e-14)
        there, swapped = uniopt.swap_averaged_params(state, params)
        np.testing.assert_array_equal(there["w"], found["w"])
        back, _ = uniopt.swap_averaged_params(swapped, there)
        assert back["w"] is params["w"]
        assert back["rest"][0] is params["rest"][0]


def test_averages_below_a_prefix() -> None:
    """What a prefix leaves out has no average; swapping twice takes the state's structure back too."""
    params = {"a": {"x": np.asarray(1.0), "y": [np.asarray(2.0)]}, "b": {"x": np.asarray(3.0), "n": None}}
    tx = uniopt.partition(
        {"mean": uniopt.params_mean(), "ema": uniopt.params_ema(0.5), "none": uniopt.scale(2.0)},
        {"a": {"x": "ema", "y": "none"}, "b": "mean"},
    )
    updates, state = tx.update(params, tx.init(params), params)
    following = uniopt.apply_updates(params, updates)
    assert uniopt.averaged_params(state, params) == {"a": {"x": 2.0, "y": [2.0]}, "b": {"x": 6.0, "n": None}}
    there, swapped = uniopt.swap_averaged_params(state, following)
    assert uniopt.tree.flatten(swapped)[1] == uniopt.tree.flatten(state)[1]
    back, again = uniopt.swap_averaged_params(swapped, there)
    assert all(x is y for x, y in zip(*map(uniopt.tree.leaves, ((back, again), (following, state))), strict=True))


def test_what_is_not_finite_in_between_is_not_averaged() -> None:
    """A NaN in a step that the mean leaves out leaves no trace, nor one before it begins."""
    tx = uniopt.params_mean(1, 2)
    state = tx.init(np.asarray(0.0))
    with np.errstate(invalid="ignore"):
        for p in (np.nan, np.nan, 3.0, np.inf, 5.0):  # those of steps 3 and 5 are averaged
            _, state = tx.update(np.asarray(0.0), state, np.asarray(p))
    assert state.average == 4.0


@pytest.mark.parametrize("every", [49, 98, 103])
def test_the_parameters_of_no_cycle_are_left_out_under_jit(every: int) -> None:
    """Where XLA divides by a constant, 49 / 49 is below 1."""
    import jax

    tx = uniopt.params_mean(0, every)
    params = require("jax").asarray(np.ones(1, np.float32))
    state, update = tx.init(params), jax.jit(tx.update)
    for n in (1, 2, 3):
        count = require("jax").asarray(n * every - 1, dtype=jax.numpy.int32)
        _, after = update(params, state._replace(count=count, average=0 * params), 0 * params)
        np.testing.assert_allclose(after.average, 1 / n, rtol=1e-6)


def test_a_skipped_parameter_keeps_its_average() -> None:
    tx = uniopt.params_mean()
    params = {"a": np.asarray(1.0), "b": np.asarray(1.0)}
    _, state = tx.update({"a": np.asarray(1.0), "b": None}, tx.init(params), params)
    assert state.average == {"a": 2.0, "b": 1.0}


def test_errors() -> None:
    params = start()
    with pytest.raises(uniopt.errors.StateError, match="has no average"):
        uniopt.averaged_params(uniopt.adam(0.1).init(params), params)
    twice = uniopt.chain(uniopt.params_ema(0.5), uniopt.params_mean()).init(params)
    with pytest.raises(uniopt.errors.StateError, match=r"two averages of params\['rest'\]\[0\]"):
        uniopt.averaged_params(twice, params)
    assert uniopt.averaged_params(twice[1], params)["w"] is not None
    with pytest.raises(uniopt.errors.StateError, match="another tree"):
        uniopt.averaged_params(twice[1], {"v": params["w"]})
    with pytest.raises(uniopt.errors.MissingParamsError, match=r"params_ema\(decay=0.5"):
        uniopt.params_ema(0.5).update(params, twice[0])
    for make in (lambda: uniopt.params_ema(1.0), lambda: uniopt.params_mean(-1), lambda: uniopt.params_mean(0, 0)):
        with pytest.raises(uniopt.errors.HyperparameterError):
            make()
