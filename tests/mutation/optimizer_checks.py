"""What the cells of the conformance suite cannot see of single optimizers: the edges of a formula, and their states."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from importlib import import_module
from typing import Any

import numpy as np
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.reference import Leaf, asgd_average
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.mutation.checks import RATE, slots_called, walk
from uniopt import tree

Check = Callable[[], None]

radam = import_module("uniopt.optimizers.radam")  # the optimizer has the module's name
newton_schulz = import_module("uniopt.optimizers.newton_schulz")


def checks() -> Iterator[tuple[str, Check]]:
    """Yield every check with its name."""
    for check in (
        adafactor_keeps_rows_and_columns,
        asgd_averages,
        asgd_averages_after_a_million_steps,
        centered_rmsprop_keeps_the_mean,
        ftrl_stays_without_a_denominator,
        lions_signs_may_be_soft,
        polyak_takes_no_step_along_nothing,
        radam_is_rectified_at_the_threshold,
        radam_takes_no_step_where_it_is_not_real,
        radams_length_is_exact,
        spectral_norms_are_the_largest_singular_values,
    ):
        yield check.__name__.replace("_", " "), check


def lions_signs_may_be_soft() -> None:
    """The direction is a tenth of the first gradient."""
    g = np.asarray([0.5, -3.0, 30.0, -30.0, 0.0, 10.0, 15.0])
    for mode, expected in {
        "hard": [1.0, -1.0, 1.0, -1.0, 0.0, 1.0, 1.0],
        "smooth": [math.tanh(0.2 * x) for x in g],
        "refined": [0.05, -0.3, 1.0, -1.0, 0.0, 1.0, 1.0],
    }.items():
        tx = uniopt.scale_by_lion(mode=mode, smooth_beta=2.0)
        np.testing.assert_allclose(tx.update(g, tx.init(g))[0], expected, rtol=1e-13)
    tx = uniopt.scale_by_lion(mode="refined")
    _, state = tx.update(np.asarray([1e4]), tx.init(g[:1]))
    np.testing.assert_array_equal(tx.update(np.asarray([-30.0]), state)[0], [1.0])  # momentum outweighs the gradient
    plain = uniopt.scale_by_lion(mode="smooth")
    np.testing.assert_allclose(plain.update(g, plain.init(g))[0], [math.tanh(0.1 * x) for x in g], rtol=1e-13)


def adafactor_keeps_rows_and_columns() -> None:
    """From 128 on, rows and columns stand for a matrix; what is not in use has one element. In step 1 all are means."""
    params = {"long": np.ones((128, 129)), "short": np.ones((129, 127)), "deep": np.ones((3, 128, 2, 130))}
    rng = np.random.default_rng(0)
    grads = tree.map(lambda p: rng.standard_normal(p.shape), params)
    for tx in (uniopt.scale_by_factored_rms(), uniopt.adafactor(RATE)):
        state = tx.init(params)
        state = state if isinstance(state, uniopt.FactoredState) else state[0]
        shapes = {slot: {key: x.shape for key, x in getattr(state, slot).items()} for slot in ("v_row", "v_col", "v")}
        assert shapes == {
            "v_row": {"long": (128,), "short": (1,), "deep": (3, 128, 2)},
            "v_col": {"long": (129,), "short": (1,), "deep": (3, 2, 130)},
            "v": {"long": (1,), "short": (129, 127), "deep": (1,)},
        }
        assert not any(x.any() for x in tree.leaves(state))
    tx = uniopt.scale_by_factored_rms(epsilon=0.0)
    _, state = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(state.v_row["long"], (grads["long"] ** 2).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(state.v_col["long"], (grads["long"] ** 2).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(state.v_row["deep"], (grads["deep"] ** 2).mean(axis=3), rtol=1e-12)
    np.testing.assert_allclose(state.v["short"], grads["short"] ** 2, rtol=1e-12)


def asgd_averages() -> None:
    """The average in the state is that of the loops."""
    problem = PROBLEMS["normal"]
    for hyper in SETTINGS["asgd"].values():
        start, *gradients = (tree.leaves(x) for x in (problem.params, *problem.gradients))
        streams = [[Leaf.of(g) for g in gradient] for gradient in gradients]
        expected = asgd_average([Leaf.of(p) for p in start], streams, **hyper)
        steps = walk(uniopt.asgd(**hyper), problem.params, problem.gradients)
        for (state, _), leaves in zip(steps, expected, strict=True):
            for x, leaf in zip(slots_called(state, "ax"), leaves, strict=True):
                np.testing.assert_allclose(x.ravel(), leaf.values, rtol=1e-12, atol=1e-14)


def asgd_averages_after_a_million_steps() -> None:
    """By default the average begins with step 1e6; until then it is the last parameter."""
    params, grads = np.ones(2), np.zeros(2)
    for tx in (uniopt.asgd(RATE, lambd=0.0), uniopt.scale_by_asgd(RATE, lambd=0.0)):
        for count, weight in ((999_999, 1.0), (1_000_003, 1 / 3), (1_500_000, 1 / 500_000)):
            state = tree.map(lambda x, n=count: np.asarray(n, np.int32) if x.ndim == 0 else x, tx.init(params))
            _, state = tx.update(grads, state, params)
            np.testing.assert_allclose(slots_called(state, "ax")[0], weight, rtol=1e-12)


def centered_rmsprop_keeps_the_mean() -> None:
    """Both moments in the state are running means, the first one with its sign."""
    g = np.asarray([1.0, -3.0])
    tx = uniopt.scale_by_stddev(0.75)
    _, state = tx.update(g, tx.init(g))
    _, state = tx.update(2 * g, state)
    np.testing.assert_allclose(state.mu, (0.75 + 2) * g / 4, rtol=1e-15)
    np.testing.assert_allclose(state.nu, (0.75 + 4) * g * g / 4, rtol=1e-15)


def ftrl_stays_without_a_denominator() -> None:
    """A parameter that has had no gradient, and no accumulator, stays; any other one moves to the optimum."""
    params = np.asarray([2.0, 2.0])
    tx = uniopt.ftrl(0.5, initial_accumulator_value=0.0)
    with np.errstate(divide="raise", invalid="raise"):
        updates, _ = tx.update(np.asarray([0.0, 0.5]), tx.init(params), params)
    # Of the second one: n = 1/4, sigma = 1, z = 1/2 - 2, p = -z / 1.
    np.testing.assert_allclose(updates, [0.0, -0.5], rtol=1e-15)


def polyak_takes_no_step_along_nothing() -> None:
    """Where squared norm and eps are at most 2**-52, there is no step; above, there is."""
    tx = uniopt.polyak_sgd(max_learning_rate=math.inf)
    params = np.ones(1)
    for g, expected in ((2.0**-27, 0.0), (2.0**-26, 0.0), (2.0**-26 * 1.125, -1 / (2.0**-26 * 1.125))):
        updates, _ = tx.update(np.asarray([g]), tx.init(params), params, value=1.0)
        np.testing.assert_allclose(updates, [expected], rtol=1e-15)
    nothing: dict[str, Any] = {"w": None}
    assert tx.update(nothing, tx.init(nothing), nothing, value=1.0)[0] == nothing


def radam_is_rectified_at_the_threshold() -> None:
    """A length that equals the threshold is enough, but in torch."""
    for t in (1.0, 3.0, 7.0):
        steps = np.asarray(t)
        length = float(radam._length(np, steps, 0.9))
        assert radam._is_rectified(np, steps, 0.9, length, False)
        assert not radam._is_rectified(np, steps, 0.9, math.nextafter(length, math.inf), False)
        assert radam._is_rectified(np, steps, 0.9, math.nextafter(length, 0.0), True)
        assert not radam._is_rectified(np, steps, 0.9, length, True)


def radam_takes_no_step_where_it_is_not_real() -> None:
    """Between lengths of 2 and 4, which a low threshold lets pass, the rectification is the root of a negative."""
    g = np.asarray([1.0, -2.0])
    tx = uniopt.radam(RATE, b2=0.75, threshold=2.0)
    state, moved = tx.init(g), []
    for _ in range(8):
        updates, state = tx.update(g, state)
        moved.append(bool(updates.any()))
    lengths = [7 - 2 * t * 0.75**t / (1 - 0.75**t) for t in range(1, 9)]
    assert moved == [not 2 <= length <= 4 for length in lengths]
    assert True in moved
    assert False in moved


def radams_length_is_exact() -> None:
    """coth x - 1/x, which cancels near 0, in a series and in closed form."""
    for i in range(1, 64):
        x = i / 128 if i != 16 else 0.12499
        exact = _langevin(x)
        bound = 2e-14 if x < 0.125 else 1e-13
        np.testing.assert_allclose(radam._langevin(np, np.asarray(x)), exact, rtol=bound)


def spectral_norms_are_the_largest_singular_values() -> None:
    """Of each matrix, real or complex, with one largest singular value or several."""
    rng = np.random.default_rng(0)
    real = np.stack([rng.standard_normal((3, 4)), np.eye(3, 4)])
    for x in (real, real + 1j * rng.standard_normal((2, 3, 4))):
        found = newton_schulz._largest_singular_value(np, x)
        np.testing.assert_allclose(found[:, 0, 0], np.linalg.norm(x, 2, axis=(1, 2)), rtol=1e-9)


def _langevin(x: float) -> float:
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(x)
        grown, shrunk = exact.exp(), (-exact).exp()
        return float((grown + shrunk) / (grown - shrunk) - 1 / exact)
