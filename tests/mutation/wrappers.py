"""What wrappers compute, and what they leave alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import uniopt
from tests.mutation.wrapper_loops import (
    RATE,
    START,
    STREAM,
    lookahead_follows_loops,
    mechanize_follows_loops,
    opaque_sam_follows_loops,
    sam_follows_loops,
    schedule_free_follows_loops,
)
from uniopt import tree

Check = Callable[[], None]


def checks() -> Iterator[tuple[str, Check]]:
    """Yield every check with its name."""
    for period in (1, 2, 3):
        for reset in (False, True):
            yield f"lookahead every {period}, {reset}", partial(lookahead_follows_loops, period, 0.75, reset)
            yield f"sam every {period}, {reset}", partial(sam_follows_loops, period, reset)
            yield f"opaque sam every {period}, {reset}", partial(opaque_sam_follows_loops, period, reset)
    for b1, power, warmup in ((0.9, 2.0, None), (0.5, 1.0, 4), (1.0, 0.5, 3), (0.75, 0.0, None)):
        yield f"schedule_free {b1}, {power}", partial(schedule_free_follows_loops, b1, power, warmup)
    for decay, eps, s_init, count in ((0.01, 1e-8, 1e-6, 6), (0.5, 0.25, 1.0, 2), (0.0, 0.125, 0.5, 3)):
        yield f"mechanize {count}", partial(mechanize_follows_loops, decay, eps, s_init, count)
    for check in (
        arrays_are_hyperparameters,
        defaults_are_optaxs,
        flatten_is_the_inner_transformation,
        mechanize_stays_where_it_is,
        monitors_measure,
        pairs_move_alike,
        schedule_free_aliases,
        schedule_free_without_a_rate,
        states_are_copies,
        z_is_stored_rounded,
    ):
        yield check.__name__.replace("_", " "), check


def flatten_is_the_inner_transformation() -> None:
    """For rules of single elements; the vectors stand in the order of the leaves, one for each dtype."""
    params = {"a": np.asarray([[1.0, 2.0], [3.0, 4.0]]), "b": np.asarray(5.0), "c": np.ones((0, 2)), "d": np.ones(3)}
    inner, tx = uniopt.adam(RATE), uniopt.flatten(uniopt.adam(RATE))
    before, state = inner.init(params), tx.init(params)
    for _ in range(2):
        expected, before = inner.update(params, before, params)
        found, state = tx.update(params, state, params)
        for x, y in zip(tree.leaves(found), tree.leaves(expected), strict=True):
            assert x.shape == y.shape
            np.testing.assert_allclose(x, y, rtol=1e-14)
    np.testing.assert_allclose(state[0].mu, 0.19 * np.asarray([1, 2, 3, 4, 5, 1, 1, 1]), rtol=1e-14)
    moved = tree.map(uniopt.backends.get("torch").from_numpy, params)
    assert [x.shape for x in tree.leaves(tx.update(moved, tx.init(moved))[0])] == [x.shape for x in tree.leaves(params)]
    mixed = {"a": np.ones(2), "b": np.ones(1, np.float32), "c": np.full(1, 2.0), "d": None}
    tx = uniopt.flatten(uniopt.chain(uniopt.trace(0.5), uniopt.add_decayed_weights(1.0)))
    updates, state = tx.update(mixed, tx.init(mixed), mixed)
    assert [x.tolist() for x in state[0].trace] == [[1, 1, 2], [1]]
    assert [(x.tolist(), x.dtype.name) for x in tree.leaves(updates)] == [
        ([2, 2], "float64"),
        ([2], "float32"),
        ([4], "float64"),
    ]


def monitors_measure() -> None:
    """Functions, running means and transformations; numbers and NumPy's scalars become arrays."""

    def largest(updates: Any) -> Any:
        return np.max(updates)

    tx = uniopt.monitor(
        {
            "largest": largest,
            "mean": uniopt.measure_with_ema(largest, 0.5),
            "biased": uniopt.measure_with_ema(largest, 0.5, debias=False),
            "single": uniopt.measure_with_ema(largest, 0.5, True, "float32"),
            "often": uniopt.measure_with_ema(lambda updates: np.max(updates) > 3.0, 0.75),
            "trace": uniopt.trace(0.5),
            "seen": uniopt.GradientTransformation(lambda params: (), _params_seen),
        }
    )
    snapshot = uniopt.snapshot("all", lambda updates: {"n": 2, "x": np.max(updates), "none": None, "b": True})
    state, once = tx.init(np.asarray([3.0, 1.0])), snapshot.init(np.asarray([3.0]))
    assert float(state.measurements["largest"]) == float(state.measurements["mean"]) == 3.0
    assert float(once.measurement["all"]["x"]) == 3.0
    for g in (2.0, 8.0):
        updates, state = tx.update(np.asarray([g, 1.0]), state, np.asarray([7.0, 7.0]), value=g)
        _, once = snapshot.update(np.asarray([g]), once)
    assert updates.tolist() == [8.0, 1.0]
    found = {name: np.asarray(x).tolist() for name, x in state.measurements.items()}
    frequency = found.pop("often")
    np.testing.assert_allclose(frequency, 0.25 / (1 - 0.75**2), rtol=1e-14)
    assert found == {
        "largest": 8.0, "mean": 6.0, "biased": 4.5, "single": 6.0, "trace": [9.0, 1.5], "seen": 7.0 + 8.0,
    }  # fmt: skip
    assert state.measure_states[3][1].ema.dtype == np.float32
    assert state.measure_states[3][0] == uniopt.EmptyState()
    assert float(uniopt.snapshot("n", lambda updates: 2).init({"a": None}).measurement["n"]) == 2.0
    assert all(isinstance(x, np.ndarray) for x in tree.leaves((state, once)))
    assert tree.map(float, once.measurement["all"]) == {"n": 2.0, "x": 8.0, "none": None, "b": 1.0}
    _, state = tx.update(np.asarray([1.0, 1.0]), state)
    assert float(state.measurements["seen"]) == 0.0
    first = uniopt.snapshot("n", lambda updates: 1)
    assert tree.leaves(first.init({"a": None, "b": np.ones(1, np.float32)}))[0].dtype == np.float32


def _params_seen(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
    return np.asarray(0.0 if params is None else params[0] + extra.get("value", 0.0)), state


def pairs_move_alike() -> None:
    """What lookahead does not transform; each half keeps its dtype and its part of a tree."""
    labels = {"a": "ahead", "b": "plain"}
    tx = uniopt.partition({"ahead": uniopt.lookahead(uniopt.sgd(0.5), 2, 0.5), "plain": uniopt.sgd(0.25)}, labels)
    fast = {"a": np.ones(2), "b": np.ones(1)}
    params = uniopt.LookaheadParams(fast, {"a": np.ones(2, np.float32), "b": np.full(1, 2.0)})
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(fast, state, params)
        params = uniopt.apply_updates(params, updates)
    np.testing.assert_allclose(params.fast["a"], np.full(2, 0.5))
    np.testing.assert_allclose(params.slow["a"], np.full(2, 0.5))
    assert (params.fast["b"].tolist(), params.slow["b"].tolist()) == ([0.5], [1.5])
    assert updates.slow["a"].dtype == np.float32
    synced = uniopt.LookaheadParams.init_synced(fast)
    assert synced.fast is synced.slow is fast
    alike = dataclasses.make_dataclass("LookaheadParams", ["fast", "weights"])
    for other in (
        NamedTuple("Networks", [("fast", Any), ("slow", Any)])(np.ones(1), np.ones(1)),
        alike(np.ones(1), 2.0),
    ):
        tx = uniopt.sgd(0.5)  # the user's own containers are trees as any other
        assert len(tree.leaves(tx.update(other, tx.init(other), other)[0])) == 2
    empty = uniopt.lookahead(uniopt.sgd(0.5), 2, 0.5)
    assert empty.update({}, empty.init({}), uniopt.LookaheadParams({}, {}))[0] == uniopt.LookaheadParams({}, {})


def schedule_free_aliases() -> None:
    """Each parameter reaches its place."""
    params = np.asarray(START)
    for made, expected in (
        (
            uniopt.schedule_free_adamw(RATE, 3, 0.5, 0.75, 0.25, 0.125, 1.0, "float32"),
            uniopt.schedule_free(
                uniopt.adamw(uniopt.linear_schedule(0.0, RATE, 3), b1=0.0, b2=0.75, eps=0.25, weight_decay=0.125),
                uniopt.linear_schedule(0.0, RATE, 3), 0.5, 1.0, "float32",
            ),
        ),
        (
            uniopt.schedule_free_sgd(RATE, state_dtype="float32"),
            uniopt.schedule_free(uniopt.sgd(RATE), RATE, state_dtype="float32"),
        ),
    ):  # fmt: skip
        walks = []
        for tx in (made, expected):
            p, state = params, tx.init(params)
            for g in STREAM:
                updates, state = tx.update(np.asarray(g), state, p)
                p = p + updates
            assert state.z.dtype == np.float32
            walks.append((p, state.z, state.weight_sum))
        for x, y in zip(*walks, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6)


def schedule_free_without_a_rate() -> None:
    """Nothing is divided by the weight of 0."""
    params, tx = np.asarray(START), uniopt.schedule_free(uniopt.sgd(0.0), 0.0)
    with np.errstate(all="raise"):
        updates, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates, np.zeros(3))
    assert isinstance(state.b1, np.ndarray)


def mechanize_stays_where_it_is() -> None:
    """On the device of the parameters, in their precision."""
    strict = uniopt.backends.get("array_api_strict")
    device = strict.devices()[1]
    params = strict.from_numpy(np.ones(2, np.float32), device=device)
    tx = uniopt.mechanize(uniopt.sgd(RATE))
    _, state = tx.update(params, tx.init(params), params)
    for x in (state.r, state.m, state.v, state.s, state.x0):
        assert (x.dtype, x.device) == (params.dtype, device)


def defaults_are_optaxs() -> None:
    """As they print."""
    for tx, text in (
        (uniopt.lookahead(uniopt.sgd(0.5), 2, 0.5), "reset_state=False"),
        (uniopt.sam(uniopt.sgd(0.5), uniopt.sgd(0.5)), "sync_period=2, reset_state=True, opaque_mode=False"),
        (uniopt.schedule_free(uniopt.sgd(0.5), 0.5), "b1=0.9, weight_lr_power=2.0, state_dtype=None"),
        (uniopt.schedule_free_sgd(), "sgd"),
        (uniopt.mechanize(uniopt.sgd(0.5)), "weight_decay=0.01, eps=1e-08, s_init=1e-06, num_betas=6"),
    ):
        assert text in repr(tx) or text == "sgd", repr(tx)
    sgd, adamw = uniopt.schedule_free_sgd(), uniopt.schedule_free_adamw()
    assert sgd == uniopt.schedule_free_sgd(1.0, None, 0.9, None, 2.0, None)
    assert adamw == uniopt.schedule_free_adamw(0.0025, None, 0.9, 0.999, 1e-8, 0.0, 2.0, None)


def arrays_are_hyperparameters() -> None:
    """0-d arrays do what numbers do, where no shortcut for numbers is taken."""
    strict = uniopt.backends.get("array_api_strict")
    params = strict.from_numpy(np.asarray(START))

    def array(x: float) -> Any:
        return strict.asarray(x)

    for make in (
        lambda f: uniopt.schedule_free(uniopt.sgd(0.125), f(0.125), f(0.75), f(1.0)),
        lambda f: uniopt.mechanize(uniopt.sgd(0.125), f(0.25), f(0.5), f(0.5)),
    ):
        walks = []
        for f in (float, array):
            tx, p = make(f), params
            state = tx.init(p)
            for g in STREAM:
                updates, state = tx.update(strict.from_numpy(np.asarray(g)), state, p)
                p = uniopt.apply_updates(p, updates)
            walks.append([strict.to_numpy(x) for x in tree.leaves((p, state))])
        for x, y in zip(*walks, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12)


def states_are_copies() -> None:
    """Of parameters that the user may overwrite, in the dtypes that are asked for."""
    params = {"a": np.ones(2, np.float16), "b": np.ones(2)}
    assert not np.shares_memory(uniopt.schedule_free_sgd().init(params).z["b"], params["b"])
    for tx in (uniopt.sam(uniopt.sgd(0.5), uniopt.sgd(1.0)), uniopt.mechanize(uniopt.sgd(1.0))):
        state = tx.init(params)
        for _ in range(2):
            held = state.cache if hasattr(state, "cache") else state.x0
            assert {name: x.dtype.name for name, x in held.items()} == {"a": "float16", "b": "float64"}
            assert not any(np.shares_memory(held[name], params[name]) for name in params)
            _, state = tx.update(params, state, params)


def z_is_stored_rounded() -> None:
    """And the average goes on from what is stored, in the precision of the parameters."""
    tx = uniopt.schedule_free_sgd(RATE, state_dtype="float16")
    params = np.asarray(START)
    state = tx.init(params)
    for g in STREAM:
        before = uniopt.schedule_free_eval_params(state, params)
        updates, after = tx.update(np.asarray(g), state, params)
        params = params + updates
        np.testing.assert_array_equal(after.z, (state.z.astype(np.float64) - RATE * np.asarray(g)).astype(np.float16))
        share = RATE**2 / float(after.weight_sum)
        x = before + share * (after.z.astype(np.float64) - before)
        np.testing.assert_allclose(uniopt.schedule_free_eval_params(after, params), x, rtol=1e-13)
        np.testing.assert_allclose(params, 0.9 * x + 0.1 * after.z.astype(np.float64), rtol=1e-13)
        state = after
