"""Transformations with integers that are kept in the state, and walks on which these are set to others."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from uniopt.backends.protocol import Backend

import uniopt
from tests.properties.problems import host, moved

F = np.float32


@dataclass(frozen=True)
class Case:
    """A function, its arguments, and two values of the integers among them."""

    make: Callable[..., Any]
    given: dict[str, Any]
    integers: dict[str, tuple[int, int]]

    def plain(self, which: int) -> Any:
        """Return the transformation that is made with the first or the second integers."""
        return self.make(**self.given, **{name: pair[which] for name, pair in self.integers.items()})

    def injected(self, **schedules: Any) -> Any:
        """Return the transformation whose integers, and nothing else, are in the state."""
        static = [name for name in inspect.signature(self.make).parameters if name not in self.integers]
        first = {name: pair[0] for name, pair in self.integers.items()}
        return uniopt.inject_hyperparams(self.make, static_args=static)(**self.given, **{**first, **schedules})


def mean_of(start: uniopt.Integer, every: uniopt.Integer) -> Any:
    return uniopt.chain(uniopt.sgd(0.5), uniopt.params_mean(start, every))


def ema_of(debias: bool, start: uniopt.Integer) -> Any:
    return uniopt.chain(uniopt.sgd(0.5), uniopt.params_ema(0.75, debias, start=start))


def overwritten(every: uniopt.Integer, mini_steps: uniopt.Integer) -> Any:
    return uniopt.chain(uniopt.sgd(0.5), uniopt.overwrite_params(uniopt.params_mean(), every, mini_steps))


def factored(decay_offset: uniopt.Integer) -> Any:
    return uniopt.adafactor(0.5, 2, decay_offset=decay_offset)


def factored_by(step_offset: uniopt.Integer) -> Any:
    def rate(n: Any, c: Any) -> Any:
        return uniopt.linear_schedule(0.25, c, 8)(n)

    return uniopt.scale_by_factored_rms(decay_rate=0.5, step_offset=step_offset, decay_rate_fn=rate)


INNER = uniopt.sgd(0.5, momentum=0.5)
CASES = {
    "MultiSteps": Case(uniopt.MultiSteps, {"opt": INNER}, {"every_k_schedule": (3, 2)}),
    "adafactor": Case(factored, {}, {"decay_offset": (2, 7)}),
    "scale_by_factored_rms": Case(factored_by, {}, {"step_offset": (0, 3)}),
    "apply_every": Case(uniopt.apply_every, {}, {"k": (5, 2)}),
    "apply_if_finite": Case(uniopt.apply_if_finite, {"inner": INNER}, {"max_consecutive_errors": (3, 1)}),
    "dynamic_loss_scaling": Case(
        uniopt.dynamic_loss_scaling, {"inner": INNER, "init_scale": 4.0}, {"growth_interval": (4, 2)}
    ),
    "lookahead": Case(
        uniopt.lookahead, {"fast_optimizer": INNER, "slow_step_size": 0.5, "reset_state": True}, {"sync_period": (6, 2)}
    ),
    "overwrite_params": Case(overwritten, {}, {"every": (3, 2), "mini_steps": (2, 1)}),
    "params_ema": Case(ema_of, {"debias": True}, {"start": (2, 6)}),
    "params_ema from the start": Case(ema_of, {"debias": False}, {"start": (2, 7)}),
    "params_mean": Case(mean_of, {}, {"start": (1, 4), "every": (2, 3)}),
    "reduce_on_plateau": Case(
        uniopt.reduce_on_plateau, {}, {"patience": (2, 1), "cooldown": (0, 2), "accumulation_size": (2, 1)}
    ),
    "sam": Case(
        uniopt.sam, {"optimizer": INNER, "adv_optimizer": uniopt.sgd(0.25, momentum=0.5)}, {"sync_period": (6, 2)}
    ),
    "schedule_free_sgd": Case(uniopt.schedule_free_sgd, {"learning_rate": 0.5}, {"warmup_steps": (3, 9)}),
    "schedule_free_adamw": Case(uniopt.schedule_free_adamw, {"learning_rate": 0.5}, {"warmup_steps": (3, 9)}),
    "ScheduleFreeAdamW": Case(
        uniopt.dialects.keras.ScheduleFreeAdamW, {"learning_rate": 0.5}, {"warmup_steps": (3, 9)}
    ),
}
SWITCH, STEPS = 4, 10
"""The step before which the second integers are set, and how many are taken."""


def start_of(case: Case) -> Any:
    params = {"w": np.asarray([[1.0, -2.0], [0.5, 3.0]], F), "b": np.asarray([1.0, 2.0], F)}
    return uniopt.LookaheadParams.init_synced(params) if case.make is uniopt.lookahead else params


def gradients(case: Case, k: int) -> Any:
    rng = np.random.default_rng(k)
    bad = case.make is uniopt.apply_if_finite and k in (1, 2, 5, 6, 7)
    return {"w": rng.normal(size=(2, 2)).astype(F), "b": np.asarray([np.nan if bad else 0.5, -1.0], F)}


def switched(case: Case, backend: Backend, walk: Callable[..., Any], tx: Any) -> tuple[Any, Any]:
    """Return parameters and state after all steps of the transformation whose integers are set on the way."""
    params = moved(start_of(case), backend)
    state = tx.init(params)
    for k in range(STEPS):
        if k == SWITCH:
            for name, (_, second) in case.integers.items():
                state.hyperparams[name] = second
        params, state = walk(moved(gradients(case, k), backend), state, params, value=3.0 - (k % 4) // 2)
    return params, state


def expected(case: Case, backend: Backend) -> tuple[Any, Any]:
    """Return the same of the plain transformations: the second goes on from the state of the first."""
    params = moved(start_of(case), backend)
    state = case.plain(0).init(params)
    for k in range(STEPS):
        grads = moved(gradients(case, k), backend)
        params, state = eagerly(case.plain(k >= SWITCH))(grads, state, params, value=3.0 - (k % 4) // 2)
    return params, state


def eagerly(tx: Any) -> Callable[..., Any]:
    def walk(grads: Any, state: Any, params: Any, **extra: Any) -> Any:
        updates, state = tx.update(grads, state, params, **extra)
        return uniopt.apply_updates(params, updates), state

    return walk


def assert_same_bits(found: Any, wanted: Any, backend: Backend) -> None:
    assert uniopt.tree.flatten(found)[1] == uniopt.tree.flatten(wanted)[1]
    for x, y in zip(uniopt.tree.leaves(host(found, backend)), uniopt.tree.leaves(host(wanted, backend)), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def assert_close(found: Any, wanted: Any, backend: Backend, rtol: float = 1e-5) -> None:
    for x, y in zip(uniopt.tree.leaves(host(found, backend)), uniopt.tree.leaves(host(wanted, backend)), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6)


def assert_set(case: Case, state: Any, backend: Backend) -> None:
    for name, (_, second) in case.integers.items():
        value = state.hyperparams[name]
        assert uniopt.backends.backend_of(value) is backend
        assert (tuple(value.shape), str(value.dtype).split(".")[-1], int(value)) == ((), "int32", second)
