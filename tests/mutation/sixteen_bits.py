"""Checks of the ways of training in 16 bits: the cells of the conformance suite are in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

import uniopt
from uniopt import GradientTransformation, tree
from uniopt.errors import MissingParamsError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = (BFLOAT16, np.dtype("float16"))
WAYS: dict[str, Callable[[GradientTransformation], GradientTransformation]] = {
    "master_weights": uniopt.master_weights,
    "kahan_summation": lambda tx: uniopt.chain(tx, uniopt.kahan_summation()),
    "stochastic_rounding": lambda tx: uniopt.chain(tx, uniopt.stochastic_rounding(7)),
}


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for check in (
        copies_take_the_steps_of_float32,
        what_rounding_takes_is_given_back,
        chances_are_those_of_the_distance,
        numbers_of_the_dtype_stay,
        updates_reach_the_number,
        other_leaves_pass,
        the_count_and_the_seed_decide,
        parameters_are_asked_for,
    ):
        yield check.__name__.replace("_", " "), check


def copies_take_the_steps_of_float32() -> None:
    """The copies walk as float32 parameters do, and the parameters are the copies rounded."""
    for dtype in DTYPES:
        params, gradients = _start(dtype), _gradients(dtype)
        exact, found = uniopt.adam(0.125), uniopt.master_weights(uniopt.adam(0.125))
        for (wide, _), (halves, state) in zip(
            _walk(exact, _wide(params), [_wide(g) for g in gradients]), _walk(found, params, gradients), strict=True
        ):
            for x, master, half in zip(*map(tree.leaves, (wide, state.master, halves)), strict=True):
                np.testing.assert_array_equal(master, x)
                np.testing.assert_array_equal(half, x.astype(dtype))
                assert (master.dtype, half.dtype) == (np.float32, dtype)


def what_rounding_takes_is_given_back() -> None:
    """The compensation is the update, and the last compensation, without what the parameter has moved by."""
    for dtype in DTYPES:
        params, lost = _start(dtype), tree.map(np.zeros_like, _start(dtype))
        tx = uniopt.kahan_summation()
        for g, (after, state) in zip(_gradients(dtype), _walk(tx, params, _gradients(dtype)), strict=True):
            columns = zip(*map(tree.leaves, (params, g, lost, after, state.compensation)), strict=True)
            for p, u, c, q, d in columns:
                due = _wide(u) + _wide(c)
                np.testing.assert_array_equal(q, (_wide(p) + due).astype(dtype))
                np.testing.assert_array_equal(d, (due - (_wide(q) - _wide(p))).astype(dtype))
                assert d.dtype == dtype
            params, lost = after, state.compensation


def chances_are_those_of_the_distance() -> None:
    """Rounded to the neighbours, each as often as the other one is near, at powers of two and between."""
    n = 4000
    for dtype, spacing in zip(DTYPES, (2.0**-7, 2.0**-10), strict=True):
        for start in (1.0, -1.0, 1.25, 2.0 - spacing):
            below = spacing / 2 if abs(start) == 1.0 else spacing
            for share in (0.125, 0.5, 0.875):
                for h in (spacing, -spacing):
                    away = np.sign(h) == np.sign(start)
                    h = h if away else np.sign(h) * below  # noqa: PLW2901
                    params = np.full(n, start, dtype)
                    after = _wide(_step(uniopt.stochastic_rounding(3), params, np.full(n, share * h, np.float32)))
                    assert set(np.unique(after)) == {np.float32(start), np.float32(start + h)}
                    assert abs((after != start).mean() - share) < 5 * np.sqrt(share * (1 - share) / n)
    tiny = np.full(n, 3 * 2.0**-24, np.float16)
    after = _wide(_step(uniopt.stochastic_rounding(3), tiny, np.full(n, 2.0**-26, np.float32)))
    assert set(np.unique(after)) == {np.float32(3 * 2.0**-24), np.float32(4 * 2.0**-24)}
    assert abs((after != _wide(tiny)).mean() - 0.25) < 0.05


def numbers_of_the_dtype_stay() -> None:
    """What needs no rounding is not rounded."""
    for dtype, largest in zip(DTYPES, (0x7F7F, 0x7BFF), strict=True):
        patterns = np.arange(2**16, dtype=np.uint16)
        every = patterns[(patterns & 0x7FFF) < largest].view(dtype)
        for way in WAYS.values():
            np.testing.assert_array_equal(_step(way(uniopt.identity()), every, np.zeros(len(every), np.float32)), every)


def updates_reach_the_number() -> None:
    """Through zero, where the difference of two 16-bit numbers has more bits; as arrays, 0-d and empty ones too."""
    params = {"a": np.asarray(1 + 2.0**-7, BFLOAT16), "b": np.zeros((0, 2), BFLOAT16)}
    updates = tree.map(lambda p: np.asarray(np.full(p.shape, -2 - 2.0**-7), np.float32), params)
    for way in WAYS.values():
        tx = way(uniopt.identity())
        for outer in (tx, uniopt.masked(tx, {"a": True, "b": True})):
            found, _ = outer.update(updates, outer.init(params), params)
            assert all(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in found.values())
            assert uniopt.apply_updates(params, found)["a"] == -1.0


def other_leaves_pass() -> None:
    """No gradient leaves slots as they are, and float32 is none of their business."""
    params = {
        "half": np.ones(2, np.float16),
        "wide": np.ones(2, np.float32),
        "none": None,
        "still": np.ones(2, BFLOAT16),
    }
    grads = {**params, "still": None}
    for name, way in WAYS.items():
        tx = way(uniopt.scale(-1e-4))
        state = tx.init(params)
        updates, after = tx.update(grads, state, params)
        assert tree.flatten(after)[1] == tree.flatten(state)[1]
        assert (updates["none"], updates["still"]) == (None, None)
        np.testing.assert_array_equal(updates["wide"], np.float32(-1e-4))
        assert [updates["half"].dtype, updates["wide"].dtype] == [np.float32, np.float32]
        slot = {"master_weights": "master", "kahan_summation": "compensation"}.get(name)
        if slot is not None:
            values = uniopt.tree_get(after, slot)
            assert values["wide"] == uniopt.MaskedNode()
            np.testing.assert_array_equal(values["still"], uniopt.tree_get(state, slot)["still"])


def the_count_and_the_seed_decide() -> None:
    """Each step, leaf and seed has chances of its own; the same ones have the same."""
    params = {"a": np.ones(64, np.float16), "b": np.ones(64, np.float16)}
    updates = tree.map(lambda p: np.full(64, 2.0**-11, np.float32), params)
    assert not uniopt.stochastic_rounding().init(params).rng_key.any()
    seen = set()
    for key in (0, 0, 1):
        tx = uniopt.stochastic_rounding(key)
        state = tx.init(params)
        for step in range(2):
            assert state.count == step
            found, state = tx.update(updates, state, params)
            seen |= {x.tobytes() for x in found.values()}
    assert len(seen) == 8


def parameters_are_asked_for() -> None:
    """Without them there is an error that names what asks."""
    params = np.ones(2, np.float16)
    for name, way in WAYS.items():
        tx, message = way(uniopt.identity()), ""
        try:
            tx.update(params, tx.init(params))
        except MissingParamsError as error:
            message = str(error)
        assert message.startswith(name)


def _start(dtype: Any) -> Any:
    rng = np.random.default_rng(1)
    return {"w": rng.standard_normal((3, 4)).astype(dtype), "b": rng.standard_normal(5).astype(dtype)}


def _gradients(dtype: Any) -> list[Any]:
    rng = np.random.default_rng(2)
    return [tree.map(lambda p: (0.01 * rng.standard_normal(p.shape)).astype(dtype), _start(dtype)) for _ in range(4)]


def _wide(values: Any) -> Any:
    return tree.map(lambda x: x.astype(np.float32), values)


def _step(tx: GradientTransformation, params: Any, updates: Any) -> Any:
    return uniopt.apply_updates(params, tx.update(updates, tx.init(params), params)[0])


def _walk(tx: GradientTransformation, params: Any, gradients: list[Any]) -> Iterator[tuple[Any, Any]]:
    state = tx.init(params)
    for g in gradients:
        updates, state = tx.update(g, state, params)
        params = uniopt.apply_updates(params, updates)
        yield params, state
