"""What wrappers do to a stream of numbers, written out: when they update, what they keep, and what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from uniopt.backends.protocol import Backend

import uniopt
from uniopt import GradientTransformation, backends, conditional, tree
from uniopt.errors import UnioptError
from uniopt.finite import all_finite, not_finite
from uniopt.step import Step

STREAM = (1.0, 3.0, -2.0, 0.5, 4.0, -1.0, 2.5)
BAD = (math.nan, 1.0, math.inf, math.nan, -math.inf, 2.0, math.nan, 3.0)
LIBRARIES = ("numpy", "array_api_strict", "torch")


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for name in LIBRARIES:
        for check in (
            means_and_sums,
            bad_mini_steps_are_left_out,
            sums_are_handed_on,
            steps_that_are_not_finite,
            steps_that_a_function_chooses,
            finite_numbers_are_told,
            one_side_is_taken,
        ):
            yield f"{check.__name__.replace('_', ' ')} ({name})", partial(check, backends.get(name))
    for check in (
        what_functions_return_is_checked,
        settings_are_checked,
        jax_selects_and_branches,
        means_have_a_dtype,
    ):
        yield check.__name__.replace("_", " "), check


def walk(tx: GradientTransformation, stream: tuple[float, ...], backend: Backend, **extra: Any) -> Iterator[Any]:
    """Yield the number that each gradient becomes, and the state as NumPy arrays; two leaves, one more without."""
    params = {"w": backend.from_numpy(np.ones(2)), "none": None, "b": backend.from_numpy(np.ones(()))}
    state = tx.init(params)
    yield None, tree.map(backend.to_numpy, state)
    for k, g in enumerate(stream):
        grads = {"w": backend.from_numpy(np.full(2, g)), "none": None, "b": backend.from_numpy(np.asarray(2 * g))}
        values = {name: x[k] for name, x in extra.items()}
        updates, state = tx.update(grads, state, params, **values)
        found = tree.map(backend.to_numpy, updates)
        assert found["none"] is None
        assert {x.dtype for x in tree.leaves(found)} == {np.dtype("float64")}
        np.testing.assert_allclose(found["b"], 2 * found["w"][0])
        yield float(found["w"][0]), tree.map(backend.to_numpy, state)


def updates(*args: Any, **extra: Any) -> list[float]:
    """Return what each gradient becomes."""
    return [x for x, _ in walk(*args, **extra)][1:]


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def means_and_sums(backend: Backend) -> None:
    for mean in (True, False):
        tx = uniopt.MultiSteps(uniopt.trace(0.5), 3, **({} if mean else {"use_grad_mean": False}))
        held, total, momentum = 0, 0.0, 0.0
        for k, (u, state) in enumerate(walk(tx, STREAM, backend)):
            expected = 0.0
            if k > 0:
                held, total = held + 1, total + STREAM[k - 1]
            if held == 3:
                momentum = 0.5 * momentum + total / (3 if mean else 1)
                held, total, expected = 0, 0.0, momentum
            close(0.0 if u is None else u, expected)
            assert (int(state.mini_step), int(state.gradient_step)) == (held, k // 3)
            close(state.acc_grads["w"], total / max(held, 1) if mean else total)
            close(state.inner_opt_state.trace["w"], momentum)
            assert state.skip_state == ()
            assert bool(tx.has_updated(state)) == (held == 0 and k > 0)
    for schedule in (lambda n: n + 1, lambda n: 1.0 + int(n), uniopt.linear_schedule(0.9, 100.9, 100)):
        close(updates(uniopt.MultiSteps(uniopt.scale(1.0), schedule), STREAM, backend), [1, 0, 0.5, 0, 0, 3.5 / 3, 0])


def bad_mini_steps_are_left_out(backend: Backend) -> None:
    tx = uniopt.MultiSteps(uniopt.trace(0.5), 2, should_skip_update_fn=uniopt.skip_not_finite)
    with np.errstate(invalid="ignore"):
        found = list(walk(tx, BAD, backend))
    close([u for u, _ in found[1:]], [0, 0, 0, 0, 0, 1.5, 0, 0])
    assert [int(state.mini_step) for _, state in found] == [0, 0, 1, 1, 1, 1, 0, 0, 1]
    assert [int(state.skip_state["num_not_finite"]) for _, state in found] == [0, 3, 0, 3, 3, 3, 0, 3, 0]
    assert [bool(state.skip_state["should_skip"]) for _, state in found[1:]] == [not math.isfinite(g) for g in BAD]
    tx = uniopt.MultiSteps(uniopt.scale(1.0), 1, False, partial(uniopt.skip_large_updates, max_squared_norm=24.0))
    found = list(walk(tx, (2.0, 1.0, math.nan, -3.0), backend))  # the squared norm is 6 g^2
    close([u for u, _ in found[1:]], [0, 1, 0, 0])
    close([state.skip_state["norm_squared"] for _, state in found], [0, 24, 6, math.nan, 54])
    assert [bool(state.skip_state["should_skip"]) for _, state in found] == [False, True, False, True, True]
    assert bool(uniopt.skip_not_finite([backend.from_numpy(np.asarray([1.0, math.nan]))], backend.asarray(0), None)[0])
    nothing: dict[str, Any] = {"w": None}
    count = backend.asarray(3, dtype=backend.xp.int32)
    skip, seen = uniopt.skip_large_updates(nothing, count, None, 1.0)
    assert (bool(skip), float(seen["norm_squared"])) == (False, 0.0)
    skip, seen = uniopt.skip_not_finite(nothing, count, None)
    assert (bool(skip), int(seen["num_not_finite"])) == (False, 0)


def sums_are_handed_on(backend: Backend) -> None:
    found = list(walk(uniopt.apply_every(3), STREAM, backend))
    close([u for u, _ in found[1:]], [0, 0, 2, 0, 0, 3.5, 0])
    assert [int(state.count) for _, state in found] == [0, 1, 2, 0, 1, 2, 0, 1]
    close([state.grad_acc["w"][0] for _, state in found], [0, 1, 4, 2, 0.5, 4.5, 3.5, 2.5])
    close(updates(uniopt.apply_every(), STREAM, backend), STREAM)


def steps_that_are_not_finite(backend: Backend) -> None:
    for most, expected in ((0, [0] * 8), (1, [0, 1, 0, 0, 0, 2.5, 0, 4.25]), (5, [0, 1, 0, 0, 0, 2.5, 0, 4.25])):
        tx = uniopt.apply_if_finite(uniopt.trace(0.5), most)
        found = list(walk(tx, BAD, backend))
        if most == 5:
            close([u for u, _ in found[1:]], expected)
            close(found[-1][1].inner_state.trace["w"], 4.25)
        elif most == 0:
            assert math.isnan(found[1][0])
        else:
            close([u for u, _ in found[1:4]], expected[:3])
            assert math.isnan(found[4][0])
        assert [int(state.notfinite_count) for _, state in found] == [0, 1, 0, 1, 2, 3, 0, 1, 0]
        assert [int(state.total_notfinite) for _, state in found] == [0, 1, 1, 2, 3, 4, 4, 5, 5]
        assert [bool(state.last_finite) for _, state in found] == [True, *map(math.isfinite, BAD)]


def steps_that_a_function_chooses(backend: Backend) -> None:
    def odd(step: Any) -> Any:
        return step % 2 == 1

    def above(step: Any, value: float) -> bool:
        return value > 1.0

    for make, other in ((uniopt.conditionally_mask, 0.0), (uniopt.conditionally_transform, 1.0)):
        momentum, expected, plain = 0.0, [], []
        for k, g in enumerate(STREAM):
            momentum = 0.5 * momentum + g if k % 2 else momentum
            expected.append(momentum if k % 2 else other * g)
            plain.append(-g if g > 1.0 else other * g)
        found = list(walk(make(uniopt.trace(0.5), odd), STREAM, backend))
        close([u for u, _ in found[1:]], expected)
        assert [int(state.step) for _, state in found] == list(range(8))
        close(found[-1][1].inner_state.trace["w"], momentum)
        close(updates(make(uniopt.trace(0.5), odd), STREAM, backend, value=STREAM), expected)
        close(updates(make(uniopt.scale(-1.0), above, True), STREAM, backend, value=STREAM), plain)


def finite_numbers_are_told(backend: Backend) -> None:
    for values, bad in (((1.0, 2.0), 0), ((1.0, math.inf), 1), ((-math.inf, math.nan), 2)):
        for place in range(2):
            leaves = [np.ones(2), np.ones(2)]
            leaves[place] = np.asarray(values)
            step, found = Step.of_params([*(backend.from_numpy(x) for x in leaves), None])
            like = step.counter()
            assert bool(all_finite(step, found, like)) == (bad == 0)
            assert int(not_finite(step, found, like + 5)) == bad
    assert bool(all_finite(step, [None], like + 5))
    assert int(not_finite(step, [None], like + 5)) == 0


def one_side_is_taken(backend: Backend) -> None:
    step, (x,) = Step.of_params(backend.from_numpy(np.asarray([1.0, -2.0])))
    for condition in (True, False):
        for predicate in (condition, backend.xp.all(x < (3.0 if condition else 0.0))):
            calls: list[str] = []

            def side(name: str, step: Step, calls: list[str] = calls) -> Any:
                calls.append(name)
                return {name: (x, None, 3)}

            found = conditional.cond(step, predicate, partial(side, "true"), partial(side, "false"))
            assert calls == list(found) == ["true" if condition else "false"]
            assert found[calls[0]][1:] == (None, 3)
            updated, state = conditional.update_if(
                step, predicate, uniopt.scale(2.0).update.args[0], [x], uniopt.EmptyState(), [x], {}, otherwise=[-x]
            )
            close(backend.to_numpy(updated[0]), np.asarray([1.0, -2.0]) * (2.0 if condition else -1.0))
            assert state == uniopt.EmptyState()


def jax_selects_and_branches() -> None:
    """Under a trace the arrays are chosen, what is no array stays, and sides that differ are errors."""
    import jax

    sides: list[Any] = [[1.0], [3]]

    def chosen(x: Any) -> Any:
        step = Step.of_params(x)[0]
        on_true = partial(lambda step, tail: [x, None, *tail], tail=sides[0])
        on_false = partial(lambda step, tail: [-x, None, *tail], tail=sides[1])
        return conditional.cond(step, x.sum() > 0, on_true, on_false)[0]

    for tails, fits in (([[3], [3]], True), ([[3], [4]], False), ([[], [3]], False), ([[None], [3]], False)):
        sides[:] = tails
        try:
            found = [float(jax.jit(lambda x, _=tails: chosen(x))(np.float32([sign, 2 * sign]))[0]) for sign in (1, -1)]
        except UnioptError:
            assert not fits
        else:
            assert fits
            assert found == [1.0, 1.0]


def means_have_a_dtype() -> None:
    """Of what is accumulated, and of what watches a plateau."""
    params = {"a": np.ones(2, np.float16), "b": np.ones(2)}
    for dtype, expected in ((None, ["float32", "float64"]), ("float32", ["float32", "float32"])):
        tx = uniopt.MultiSteps(uniopt.scale(1.0), 2, accumulator_dtype=dtype)
        state = tx.init(params)
        for _ in range(3):
            assert [x.dtype.name for x in tree.leaves(state.acc_grads)] == expected
            _, state = tx.update(params, state, params)
    assert [x.dtype.name for x in uniopt.reduce_on_plateau().init(params)] == ["float64"] * 2 + ["int32"] * 3 + [
        "float64"
    ]
    assert uniopt.reduce_on_plateau().init({"a": params["a"]}).scale.dtype == np.float32
    assert uniopt.reduce_on_plateau().init({}).scale.dtype == np.float32


def what_functions_return_is_checked() -> None:
    """Conditions are 0-d and boolean; what a skip function notes is kept as arrays, and it sees the parameters."""
    for wrong in (np.ones(2, np.bool_), np.asarray(1), 1, None):
        try:
            conditional.condition("f", wrong)
        except UnioptError:
            continue
        raise AssertionError(f"{wrong!r} is no condition")
    seen: list[Any] = []

    def skip(updates: Any, gradient_step: Any, params: Any) -> Any:
        seen.append(params)
        return False, {"norm": np.sum(updates), "text": "kept"}

    tx = uniopt.MultiSteps(uniopt.scale(1.0), 2, should_skip_update_fn=skip)
    params = np.asarray([1.0, 2.0])
    for state in (tx.init(params), tx.update(params, tx.init(params), params)[1]):
        assert type(state.skip_state["norm"]) is np.ndarray
        assert state.skip_state["text"] == "kept"
    assert all(x is not None for x in seen)
    tx.update(params, tx.init(params))
    assert seen[-1] is None


def settings_are_checked() -> None:
    """Settings at the edge of their range are taken."""
    for make in (
        lambda: uniopt.reduce_on_plateau(rtol=1.0),
        lambda: uniopt.reduce_on_plateau(rtol=0.0, atol=1e-3),
        lambda: uniopt.reduce_on_plateau(atol=0.0),
        lambda: uniopt.reduce_on_plateau(factor=0.999),
        lambda: uniopt.dynamic_loss_scaling(uniopt.scale(1.0), growth_factor=1.001, backoff_factor=0.999),
        lambda: uniopt.MultiSteps(uniopt.scale(1.0), 1),
        lambda: uniopt.apply_every(1),
        lambda: uniopt.apply_if_finite(uniopt.scale(1.0), 0),
    ):
        make()
    tx = uniopt.MultiSteps(uniopt.scale(1.0), 2)
    assert repr(tx) == "MultiSteps(scale(step_size=1.0), every_k_schedule=2)"
    for make, state in (
        (uniopt.conditionally_mask, uniopt.ConditionallyMaskState),
        (uniopt.conditionally_transform, uniopt.ConditionallyTransformState),
    ):
        chosen = make(uniopt.scale(1.0), bool)
        assert repr(chosen).startswith(make.__name__)
        assert type(chosen.init(np.ones(1))) is state
    assert tx.inner_opt == uniopt.scale(1.0)
    assert tx.__getnewargs__() == (uniopt.scale(1.0), 2, True, None, None)
