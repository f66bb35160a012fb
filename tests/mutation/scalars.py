"""Numbers that transformations keep in their states: hyperparameters, how an objective goes, scales of a loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from uniopt.backends.protocol import Backend

import uniopt
from tests.mutation.accumulation import BAD, LIBRARIES, STREAM, close, walk
from uniopt import backends, tree
from uniopt.dialects import rates
from uniopt.errors import HyperparameterError, UnioptError
from uniopt.transformation import stage_of


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for name in LIBRARIES:
        for check in (hyperparameters_are_in_the_state, integers_are_in_the_state, plateaus, loss_scales):
            yield f"{check.__name__.replace('_', ' ')} ({name})", partial(check, backends.get(name))
    for check in (hyperparameters_are_chosen, scalars_are_where_the_parameters_are, warmups_may_be_arrays):
        yield check.__name__.replace("_", " "), check


def hyperparameters_are_in_the_state(backend: Backend) -> None:
    tx = uniopt.inject_hyperparams(uniopt.sgd)(uniopt.linear_schedule(1.0, 0.0, 8), momentum=0.5)
    momentum, expected = 0.0, []
    for k, g in enumerate(STREAM):
        momentum = 0.5 * momentum + g
        expected.append(-(1 - k / 8) * momentum)
    found = list(walk(tx, STREAM, backend))
    close([u for u, _ in found[1:]], expected)
    assert [int(state.count) for _, state in found] == list(range(8))
    assert [int(state.hyperparams_states["learning_rate"].count) for _, state in found] == list(range(8))
    close([state.hyperparams["learning_rate"] for _, state in found[1:]], [1 - k / 8 for k in range(7)])
    assert {x.dtype for x in tree.leaves(found[-1][1].hyperparams)} == {np.dtype("float64")}
    narrow = uniopt.inject_hyperparams(uniopt.sgd, hyperparam_dtype="float32")(0.5)
    found = list(walk(narrow, STREAM, backend))
    assert {x.dtype for _, state in found for x in tree.leaves(state.hyperparams)} == {np.dtype("float32")}
    params = backend.from_numpy(np.ones(2, np.float32))
    state = narrow.init(params)
    for given in (2, 0.25, np.asarray(0.125), backend.asarray(3, dtype=backend.xp.int32)):
        state.hyperparams["learning_rate"] = given
        u, state = narrow.update(params, state, params)
        close(backend.to_numpy(u), -float(given))
        assert backend.to_numpy(state.hyperparams["learning_rate"]).dtype in (np.float32, np.asarray(given).dtype)
    state = uniopt.inject_hyperparams(uniopt.scale)(Doubling()).init(params)
    kinds = [backend.to_numpy(state.hyperparams_states["step_size"][name]).dtype for name in ("n", "rate", "done")]
    assert kinds == [np.int32, np.float32, np.bool_]
    wide = uniopt.inject_hyperparams(uniopt.scale)(Doubling()).init(backend.from_numpy(np.ones(2)))
    assert backend.to_numpy(wide.hyperparams_states["step_size"]["rate"]).dtype == np.float64
    found = list(walk(uniopt.inject_hyperparams(uniopt.scale)(Doubling()), STREAM, backend, value=STREAM))
    close([u for u, _ in found[1:3]], [0.5, 1.5])


def integers_are_in_the_state(backend: Backend) -> None:
    """Numbers within int32, and rounded ones of schedules."""

    def make(k: uniopt.Integer) -> uniopt.GradientTransformation:
        seen.append(k)
        return uniopt.differentially_private_aggregate(8.0, 0.0, key=0)

    seen: list[Any] = []
    params, examples = (backend.from_numpy(np.ones(shape)) for shape in ((2,), (3, 2)))
    wide = backend.asarray(2**31, dtype=backend.xp.int64)
    below, above = np.asarray(-(2**31) - 1), np.asarray(2**31)
    for given in (2, lambda n: 1.6, lambda n: backend.asarray(1.6, dtype=backend.xp.float32)):
        tx = uniopt.inject_hyperparams(make)(given)
        seen.clear()
        state = tx.init(params)
        _, after = tx.update(examples, state, params)
        assert {int(k) for k in seen} == {2}
        assert [backend.to_numpy(s.hyperparams["k"]).dtype for s in (state, after)] == [np.int32] * 2
    tx = uniopt.inject_hyperparams(make)(2)
    for value in (3, -(2**31), 2**31 - 1, *([] if backend.name == "numpy" else [wide])):
        _, state = tx.update(examples, tx.init(params)._replace(hyperparams={"k": value}), params)
        assert int(state.hyperparams["k"]) == int(value)
    for value in (2.0, True, 2**31, -(2**31) - 1, above, below, backend.asarray(2.0)):
        try:
            tx.update(examples, tx.init(params)._replace(hyperparams={"k": value}), params)
        except HyperparameterError:
            continue
        raise AssertionError(f"{value!r} is no integer of int32")


class Doubling:
    """A rate that is multiplied by ``value``."""

    def init(self) -> Any:
        return {"n": 0, "rate": 0.5, "done": False}

    def update(self, state: Any, *, value: Any, **extra_args: Any) -> Any:
        return {**state, "rate": state["rate"] * value}

    def __call__(self, state: Any, **extra_args: Any) -> Any:
        return state["rate"]


VALUES = (4.0, 3.0, 3.0, 2.75, 3.0, 1.0, 1.0, 2.0, 1.0, 1.0, 0.75)
FLAT = (2.0, *[2.0 * (1 - 7.5e-5)] * 11)  # less than the relative tolerance below the first
HALVES = (4.0, 2.0, 2.0, 0.75)
PLATEAUS: tuple[dict[str, Any], ...] = (
    {},
    {"factor": 0.5, "patience": 2},
    {"patience": 1},
    {"factor": 0.5, "patience": 1, "rtol": 0.125, "cooldown": 2},
    {"factor": 0.5, "patience": 1, "rtol": 0.0, "atol": 0.5, "min_scale": 0.375},
    {"factor": 0.25, "patience": 1, "accumulation_size": 2, "atol": 0.25},
    {"factor": 0.5, "patience": 1, "rtol": 1.0},
    {"factor": 0.5, "patience": 1, "rtol": 0.5},
)


def plateaus(backend: Backend) -> None:
    for settings in PLATEAUS:
        for values in (VALUES, FLAT, HALVES):
            found = list(walk(uniopt.reduce_on_plateau(**settings), (1.0,) * len(values), backend, value=values))
            expected = list(_plateau(values, **settings))
            close([u for u, _ in found[1:]], [row[0] for row in expected[1:]])
            close([list(state) for _, state in found], expected)
    try:
        tx = uniopt.reduce_on_plateau()
        tx.update(np.ones(2), tx.init(np.ones(2)), value=np.ones(2))
    except UnioptError:
        pass
    else:
        raise AssertionError("a vector is no value")


def _plateau(
    values: tuple[float, ...],
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> Iterator[tuple[float, ...]]:
    """Yield scale, best, waited, cooling, seen and mean before the first value and after each."""
    scale, best, waited, cooling, held = 1.0, math.inf, 0, 0, []
    yield scale, best, waited, cooling, 0, 0.0
    for value in values:
        held.append(value)
        if len(held) == accumulation_size:
            mean, held = sum(held) / len(held), []
            better = mean < ((1 - rtol) * best - atol if math.isfinite(best) else best)
            best, waited = (mean, 0) if better else (best, waited + 1)
            if cooling:
                cooling, waited = cooling - 1, 0
            elif waited == patience:
                scale, waited, cooling = max(scale * factor, min_scale), 0, cooldown
        yield scale, best, waited, cooling, len(held), sum(held) / len(held) if held else 0.0


def loss_scales(backend: Backend) -> None:
    for settings in (
        {"growth_interval": 2},
        {"init_scale": 2.0**125, "growth_interval": 1},
        {"init_scale": 2.0**-125, "growth_interval": 9},
        {"init_scale": 3.0, "growth_factor": 4.0, "backoff_factor": 0.25, "growth_interval": 1},
    ):
        rows = list(_scales(**settings))
        stream = tuple(g * row[0] for g, row in zip(BAD, rows, strict=False))
        tx = uniopt.dynamic_loss_scaling(uniopt.trace(0.5), **settings)
        found = list(walk(tx, stream, backend))
        np.testing.assert_allclose([u for u, _ in found[1:]], [0, 1, 0, 0, 0, 2.5, 0, 4.25], rtol=1e-6)
        for (_, state), row in zip(found, rows, strict=True):
            np.testing.assert_allclose([np.float64(x) for x in state[:4]], row, rtol=1e-6)
            assert [x.dtype for x in state[:4]] == [np.float32, np.int32, np.bool_, np.int32]
            assert uniopt.loss_scale(state) is state.scale
    for first, second in ((2.0**126, 2.0**127), (2.0**127, 2.0**127), (1.7e38, 3.4e38)):
        tx = uniopt.dynamic_loss_scaling(uniopt.scale(1.0), first, growth_interval=1)
        _, (_, after) = walk(tx, (1.0,), backend)
        assert after.scale == np.float32(second)
    assert float(uniopt.loss_scale(uniopt.dynamic_loss_scaling(uniopt.scale(1.0)).init(np.ones(1)))) == 65536.0
    stage: Any = uniopt.dynamic_loss_scaling(uniopt.scale(1.0)).update.args[0]
    assert (stage.growth_factor, stage.backoff_factor, stage.growth_interval) == (2.0, 0.5, 2000)


def _scales(
    init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5, growth_interval: int = 2000
) -> Iterator[tuple[float, ...]]:
    """Yield scale, finite steps in a row, whether the last one was, and how many were not."""
    scale, steps, bad = init_scale, 0, 0
    yield scale, steps, True, bad
    for g in BAD:
        if math.isfinite(g):
            steps += 1
            if steps == growth_interval:
                larger = scale * growth_factor
                scale, steps = (scale if larger >= 2.0**128 else larger), 0
        else:
            scale, steps, bad = max(scale * backoff_factor, 2.0**-126), 0, bad + 1
        yield scale, steps, math.isfinite(g), bad


def hyperparameters_are_chosen() -> None:
    """Numbers and functions are injected, and nothing else is."""

    def make(a, b: int, c: int | float, d: Any, e: Callable[..., Any], f, /, g="text", *rest, h=True, **others):
        shown = (b, d, e(1), g, rest, h, others)
        assert shown == (2, float, 2, "text", (9, 9.5), True, {"i": 0.5}), shown
        return uniopt.scale(a * c * f)

    tx = uniopt.inject_hyperparams(make)(0.5, 2, 3, float, lambda x: x + 1, lambda n: n + 2, "text", 9, 9.5, i=0.5)
    state = tx.init(np.ones(2))
    assert {name: float(x) for name, x in state.hyperparams.items()} == {"a": 0.5, "c": 3.0, "f": 2.0}
    close(tx.update(np.ones(2), state)[0], 3.0)
    static = uniopt.inject_hyperparams(uniopt.adam, static_args="b1")(0.5, b1=np.asarray(0.9))
    assert list(static.init(np.ones(2)).hyperparams) == ["learning_rate", "b2", "eps", "eps_root"]
    masked = uniopt.inject_hyperparams(uniopt.add_decayed_weights)(0.5, lambda p: True)
    assert list(masked.init(np.ones(2)).hyperparams) == ["weight_decay"]
    text = repr(uniopt.inject_hyperparams(uniopt.scale)(np.asarray(0.5)).init(np.ones(2, np.float32)).hyperparams)
    assert text == "{'step_size': array(0.5)}"
    mixed = {"a": np.ones(2, np.float32), "b": np.ones(2), "c": np.ones(2, np.float16)}
    for params, dtype in ((mixed, np.float64), ({"c": mixed["c"]}, np.float32), ({}, np.float32)):
        assert uniopt.inject_hyperparams(uniopt.scale)(0.5).init(params).hyperparams["step_size"].dtype == dtype
    schedule = uniopt.WrappedSchedule(uniopt.linear_schedule(0.0, 8.0, 8))
    assert schedule.init().count == 0
    assert schedule.update(schedule.update(schedule.init())).count == 2
    assert schedule(schedule.update(schedule.init())) == 1.0
    assert int(schedule.update(uniopt.WrappedScheduleState(np.asarray(3, np.int32))).count) == 4


def warmups_may_be_arrays() -> None:
    """For a count that is an array as well, or a number."""
    strict = backends.get("array_api_strict")
    for w in (0, 1, 4):
        steps = strict.asarray(w, dtype=strict.xp.int32)
        keras = rates.warmed_up(0.5, steps)
        free = stage_of(uniopt.schedule_free_sgd(0.5, steps)).learning_rate  # type: ignore[attr-defined]  # of this stage
        for n in range(6):
            for count in (n, strict.asarray(n, dtype=strict.xp.int32)):
                close(float(keras(count)), 0.5 * min((n + 1) / max(w, 1), 1.0))
                close(float(free(count)), 0.5 * min(n / w, 1.0) if w else 0.0)


def scalars_are_where_the_parameters_are() -> None:
    """On the first one's device, and `None` is no parameter."""
    strict = backends.get("array_api_strict")
    device = strict.xp.Device("device1")
    params = [None, strict.xp.ones(2, device=device)]
    for tx in (
        uniopt.reduce_on_plateau(),
        uniopt.dynamic_loss_scaling(uniopt.scale(1.0)),
        uniopt.inject_hyperparams(uniopt.scale)(0.5),
        uniopt.inject_hyperparams(uniopt.scale)(Doubling()),
        uniopt.MultiSteps(uniopt.scale(1.0), 2, should_skip_update_fn=uniopt.skip_not_finite),
        uniopt.apply_if_finite(uniopt.scale(1.0), 2),
    ):
        _, state = tx.update(params, tx.init(params), value=1.0)
        assert {x.device for x in tree.leaves((state, tx.init(params)))} == {device}
