"""What the cells of the conformance suite cannot see: states, dtypes, complex numbers, and the edges of a formula."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from uniopt.conformance.cases import Case
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.reference import Leaf, asgd_average
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.shown import SHOWN
from uniopt import GradientTransformation, backends, norms, numerics, tree

Check = Callable[[], None]

radam = import_module("uniopt.optimizers.radam")  # the optimizer has the module's name
newton_schulz = import_module("uniopt.optimizers.newton_schulz")

RATE = 0.125
PHASE = 0.6 + 0.8j
# Signs and thresholds have no direction in the plane, noise has its own, and yogi's first moment starts at a number.
WITHOUT_DIRECTION = {"ftrl", "lion", "noisy_sgd", "rprop", "sign_sgd", "signum", "yogi"}
SQUARES = ("nu", "nu_max", "n", "sum_of_squares", "e_g", "e_x", "v_row", "v_col")  # but nu is SM3's momentum
DTYPES = ("mu_dtype", "accumulator_dtype", "dtype_momentum")


def checks() -> Iterator[tuple[str, Check]]:
    """Yield every check with its name."""
    for name, settings in SETTINGS.items():
        for setting, hyper in settings.items():
            case = _case(name, setting, hyper)
            yield f"no exception from {name}/{setting}", partial(no_floating_point_exception, case)
            if name not in WITHOUT_DIRECTION:
                yield f"complex numbers in {name}/{setting}", partial(complex_numbers_have_the_real_path, case)
    for name, make in SHOWN.items():
        if inspect.isfunction(make) and not {*DTYPES}.isdisjoint(inspect.signature(make).parameters):
            yield f"dtype of {name}", partial(slots_have_the_dtype_that_is_asked_for, make)
    for check in (
        accumulators_begin_at_arrays,
        adafactor_keeps_rows_and_columns,
        no_step_is_taken_from_zero,
        asgd_averages,
        asgd_averages_after_a_million_steps,
        bias_correction_is_exact,
        centered_rmsprop_keeps_the_mean,
        ftrl_stays_without_a_denominator,
        guards_are_left_out_where_float32_holds_the_epsilon,
        lions_signs_may_be_soft,
        counters_saturate,
        no_mask_of_lars_marks_every_leaf,
        norms_have_a_derivative_at_zero,
        polyak_takes_no_step_along_nothing,
        radam_is_rectified_at_the_threshold,
        radam_takes_no_step_where_it_is_not_real,
        radams_length_is_exact,
        scalars_take_the_leaves_dtype,
        spectral_norms_are_the_largest_singular_values,
        states_count_only_what_they_need,
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


def no_floating_point_exception(case: Case) -> None:
    """Nothing is divided by zero on the way to a finite result, not even in the branch that is not taken."""
    params, zeros = case.problem.params, tree.map(np.zeros_like, case.problem.params)
    with np.errstate(divide="raise", invalid="raise"):
        for start, gradients in ((params, case.problem.gradients), (params, [zeros] * 2), (zeros, [zeros] * 2)):
            for _, after in _steps(case.transformation(), start, gradients):
                assert all(np.isfinite(x).all() for x in tree.leaves(after))


def complex_numbers_have_the_real_path(case: Case) -> None:
    """Parameters and gradients that are turned by one angle take the path of the real ones, turned by it."""

    def turned(values: Any) -> Any:
        return tree.map(lambda x: np.asarray(PHASE * x), values)

    tx, problem = case.transformation(), case.problem
    real = _steps(tx, problem.params, problem.gradients)
    found = _steps(tx, turned(problem.params), [turned(g) for g in problem.gradients])
    for (_, x), (state, z) in zip(real, found, strict=True):
        for a, b in zip(tree.leaves(x), tree.leaves(z), strict=True):
            np.testing.assert_allclose(b, PHASE * a, rtol=1e-9, atol=1e-10)
        for name in SQUARES:
            assert case.optimizer == "sm3" or all(x.dtype == np.float64 for x in _slots(state, name)), name


def slots_have_the_dtype_that_is_asked_for(make: Callable[..., GradientTransformation]) -> None:
    """A slot is of the named dtype, and by default of the parameters', whatever the gradients are."""
    names = inspect.signature(make).parameters
    dtype = next(name for name in DTYPES if name in names)
    needed = {"learning_rate": RATE, "decay": 0.5, "momentum": 0.5, "measure": lambda updates: updates}
    hyper = {name: value for name, value in needed.items() if name in names}
    params = {"w": np.ones((2, 3))}
    for given, expected in ((None, np.float64), ("float32", np.float32)):
        tx = make(**hyper, **{dtype: given})
        state = tx.init(params)
        for _ in range(2):
            slots = [x for name in ("mu", "trace", "ema", "average") for x in _slots(state, name)]
            assert slots
            assert {x.dtype for x in slots} == {np.dtype(expected)}
            _, state = tx.update(params, state, params)


def accumulators_begin_at_arrays() -> None:
    """A number that fills a slot may be a 0-d array, of whatever precision; the slot has the parameters'."""
    strict = backends.get("array_api_strict")
    params, half = strict.from_numpy(np.ones(2, np.float32)), strict.asarray(0.5)
    assert half.dtype == strict.dtype("float64")
    for tx in (
        uniopt.adagrad(RATE, initial_accumulator_value=half),
        uniopt.ftrl(RATE, initial_accumulator_value=half),
        uniopt.rmsprop(RATE, initial_scale=half),
        uniopt.rprop(half),
        uniopt.scale_by_yogi(initial_accumulator_value=half),
    ):
        slots = [strict.to_numpy(x) for x in tree.leaves(tx.init(params))]
        assert all(x.dtype == np.float32 for x in slots if x.ndim == 1)
        assert any((x == 0.5).all() for x in slots)


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


def no_step_is_taken_from_zero() -> None:
    """Where nothing is added to a divisor, a zero gradient makes no step, and nothing is divided by zero."""
    strict = backends.get("array_api_strict")
    for backend, zero in ((backends.get("numpy"), 0.0), (strict, strict.asarray(0.0))):
        zeros = {"w": backend.from_numpy(np.zeros((2, 3))), "b": backend.from_numpy(np.zeros(3))}
        for tx in (
            uniopt.adabelief(RATE, eps=zero, eps_root=zero),
            uniopt.adafactor(RATE, eps=zero),
            uniopt.adafactor(RATE, eps=zero, min_dim_size_to_factor=2),
            uniopt.adagrad(RATE, initial_accumulator_value=zero, eps=zero),
            uniopt.adam(RATE, eps=zero),
            uniopt.adamax(RATE, eps=zero),
            uniopt.adan(RATE, eps=zero, eps_root=zero),
            uniopt.amsgrad(RATE, eps=zero),
            uniopt.muon(RATE, eps=zero),
            uniopt.muon(RATE, eps=zero, preconditioning="spectral"),
            uniopt.muon(RATE, eps=zero, preconditioning="aol"),
            uniopt.novograd(RATE, eps=zero),
            uniopt.radam(RATE, eps=zero, b2=0.75, threshold=4.0),
            uniopt.rmsprop(RATE, eps=zero),
            uniopt.rmsprop(RATE, eps=zero, eps_in_sqrt=False),
            uniopt.rmsprop(RATE, eps=zero, centered=True),
            uniopt.sm3(RATE),
            uniopt.scale_by_trust_ratio(),
            uniopt.scale_by_yogi(eps=zero, initial_accumulator_value=zero),
        ):
            state = tx.init(zeros)
            with np.errstate(divide="raise", invalid="raise"):
                for _ in range(6):
                    updates, state = tx.update(zeros, state, zeros)
                    assert not any(backend.to_numpy(x).any() for x in tree.leaves(updates)), tx


def asgd_averages() -> None:
    """The average in the state is that of the loops."""
    problem = PROBLEMS["normal"]
    for hyper in SETTINGS["asgd"].values():
        start, *gradients = (tree.leaves(x) for x in (problem.params, *problem.gradients))
        streams = [[Leaf.of(g) for g in gradient] for gradient in gradients]
        expected = asgd_average([Leaf.of(p) for p in start], streams, **hyper)
        steps = _steps(uniopt.asgd(**hyper), problem.params, problem.gradients)
        for (state, _), leaves in zip(steps, expected, strict=True):
            for x, leaf in zip(_slots(state, "ax"), leaves, strict=True):
                np.testing.assert_allclose(x.ravel(), leaf.values, rtol=1e-12, atol=1e-14)


def asgd_averages_after_a_million_steps() -> None:
    """By default the average begins with step 1e6; until then it is the last parameter."""
    params, grads = np.ones(2), np.zeros(2)
    for tx in (uniopt.asgd(RATE, lambd=0.0), uniopt.scale_by_asgd(RATE, lambd=0.0)):
        for count, weight in ((999_999, 1.0), (1_000_003, 1 / 3), (1_500_000, 1 / 500_000)):
            state = tree.map(lambda x, n=count: np.asarray(n, np.int32) if x.ndim == 0 else x, tx.init(params))
            _, state = tx.update(grads, state, params)
            np.testing.assert_allclose(_slots(state, "ax")[0], weight, rtol=1e-12)


def bias_correction_is_exact() -> None:
    """1 - b**t to 2 ulp, from a number and from an array, and 1 for a rate of 0."""
    for decay in (0.0, 0.5, 0.9, 0.999):
        for t in (1, 2, 50):
            for ahead in (0, 1):
                exact = float(1 - Fraction(decay) ** (t + ahead))
                for given in [decay] if decay == 0.0 else [decay, np.asarray(decay)]:
                    found = numerics.bias_correction(np, np.asarray(float(t)), given, *([ahead] if ahead else []))
                    np.testing.assert_allclose(found, exact, rtol=5e-16)


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


def guards_are_left_out_where_float32_holds_the_epsilon() -> None:
    zero = np.zeros(2, np.float32)
    assert numerics.nonzero(np, zero, 2.0**-126) is zero
    for epsilon in (0.0, 1e-50, 2.0**-127):
        np.testing.assert_array_equal(numerics.nonzero(np, zero, epsilon), 1.0)


def counters_saturate() -> None:
    """A counter goes up to the largest int32, and no further."""
    largest = 2**31 - 1
    for count in (0, 1, 2**20, largest - 2, largest - 1, largest):
        found = numerics.increment(np, np.asarray(count, np.int32))
        assert int(found) == min(count + 1, largest)


def no_mask_of_lars_marks_every_leaf() -> None:
    p = np.asarray([3.0, -4.0])
    unmasked, masked = (uniopt.lars(RATE, trust_ratio_mask=mask) for mask in (None, True))
    np.testing.assert_array_equal(unmasked.update(p, unmasked.init(p), p)[0], masked.update(p, masked.init(p), p)[0])


def norms_have_a_derivative_at_zero() -> None:
    """It is 0, not NaN, with and without a floor."""
    backend = backends.get("torch")
    for floor in (0.0, 1.0):
        for f in (norms.norm, norms.root_mean_square):
            x = backend.from_numpy(np.zeros(2)).requires_grad_()
            f(backend.xp, x, floor).backward()
            assert not backend.to_numpy(x.grad).any()


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


def scalars_take_the_leaves_dtype() -> None:
    """A rate or a value is rounded to the parameters' dtype, and may be NumPy's for any library."""
    g = np.linspace(0.0, 3.0, 50, dtype=np.float32)
    tx = uniopt.sgd(lambda count: np.float64(0.1))
    np.testing.assert_array_equal(tx.update(g, tx.init(g))[0], -(np.float32(0.1) * g))
    strict = backends.get("array_api_strict")
    x = strict.from_numpy(g)
    for f_min, value in ((0.5, 1.5), (np.asarray(0.5), np.asarray(1.5)), (strict.asarray(0.5), strict.asarray(1.5))):
        tx = uniopt.polyak_sgd(f_min=f_min)
        updates, _ = tx.update(x, tx.init(x), x, value=value)
        np.testing.assert_allclose(strict.to_numpy(updates), -g / np.sum(g * g), rtol=1e-6)


def spectral_norms_are_the_largest_singular_values() -> None:
    """Of each matrix, real or complex, with one largest singular value or several."""
    rng = np.random.default_rng(0)
    real = np.stack([rng.standard_normal((3, 4)), np.eye(3, 4)])
    for x in (real, real + 1j * rng.standard_normal((2, 3, 4))):
        found = newton_schulz._largest_singular_value(np, x)
        np.testing.assert_allclose(found[:, 0, 0], np.linalg.norm(x, 2, axis=(1, 2)), rtol=1e-9)


def states_count_only_what_they_need() -> None:
    """A counter is in the state only where the rule or a schedule needs it."""
    params = np.ones(2)
    for correct in (False, True):
        for make in (uniopt.scale_by_rms, uniopt.scale_by_stddev):
            assert ("count" in make(bias_correction=correct).init(params)._fields) == correct
    for dampening in (0, 0.0):
        tx = uniopt.trace(0.5, dampening=dampening, undampened_first_step=True)
        assert isinstance(tx.init(params), uniopt.TraceState)
    stages = [len(uniopt.adafactor(rate).init(params)) for rate in (None, 0.5)]
    assert stages[0] + 1 == stages[1]
    schedule = uniopt.linear_schedule(0.5, 0.25, 2)
    for rate, kind in ((0.5, uniopt.EmptyState), (schedule, uniopt.WeightDecaySchedule)):
        assert isinstance(uniopt.add_decayed_weights(rate).init(params), kind)


def _case(name: str, setting: str, hyper: Any) -> Case:
    return Case(name, setting, PROBLEMS["brief"], hyper, getattr(uniopt, name), None)


def _steps(tx: GradientTransformation, params: Any, gradients: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the state and the parameters after each step."""
    state = tx.init(params)
    for n, gradient in enumerate(gradients):
        updates, state = tx.update(gradient, state, params, value=1.5 + n)
        params = uniopt.apply_updates(params, updates)
        yield state, params


def _slots(state: Any, name: str) -> list[Any]:
    """Return the arrays in every slot of a name, wherever in the state it is."""
    return [x for path, x in tree.leaves_with_paths(state, "state") if f".{name}[" in f"{path}["]


def _langevin(x: float) -> float:
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(x)
        grown, shrunk = exact.exp(), (-exact).exp()
        return float((grown + shrunk) / (grown - shrunk) - 1 / exact)
