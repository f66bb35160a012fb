"""What the cells of the conformance suite cannot see of all optimizers: states, dtypes, complex numbers, zeros."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from uniopt.conformance.cases import Case
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.shown import SHOWN
from uniopt import GradientTransformation, backends, norms, numerics, tree

Check = Callable[[], None]

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
        no_step_is_taken_from_zero,
        bias_correction_is_exact,
        guards_are_left_out_where_float32_holds_the_epsilon,
        counters_saturate,
        no_mask_of_lars_marks_every_leaf,
        norms_have_a_derivative_at_zero,
        scalars_take_the_leaves_dtype,
        states_count_only_what_they_need,
    ):
        yield check.__name__.replace("_", " "), check


def no_floating_point_exception(case: Case) -> None:
    """Nothing is divided by zero on the way to a finite result, not even in the branch that is not taken."""
    params, zeros = case.problem.params, tree.map(np.zeros_like, case.problem.params)
    with np.errstate(divide="raise", invalid="raise"):
        for start, gradients in ((params, case.problem.gradients), (params, [zeros] * 2), (zeros, [zeros] * 2)):
            for _, after in walk(case.transformation(), start, gradients):
                assert all(np.isfinite(x).all() for x in tree.leaves(after))


def complex_numbers_have_the_real_path(case: Case) -> None:
    """Parameters and gradients that are turned by one angle take the path of the real ones, turned by it."""

    def turned(values: Any) -> Any:
        return tree.map(lambda x: np.asarray(PHASE * x), values)

    tx, problem = case.transformation(), case.problem
    real = walk(tx, problem.params, problem.gradients)
    found = walk(tx, turned(problem.params), [turned(g) for g in problem.gradients])
    for (_, x), (state, z) in zip(real, found, strict=True):
        for a, b in zip(tree.leaves(x), tree.leaves(z), strict=True):
            np.testing.assert_allclose(b, PHASE * a, rtol=1e-9, atol=1e-10)
        for name in SQUARES:
            assert case.optimizer == "sm3" or all(x.dtype == np.float64 for x in slots_called(state, name)), name


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
            slots = [x for name in ("mu", "trace", "ema", "average") for x in slots_called(state, name)]
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


def bias_correction_is_exact() -> None:
    """1 - b**t to 2 ulp, from a number and from an array, and 1 for a rate of 0."""
    for decay in (0.0, 0.5, 0.9, 0.999):
        for t in (1, 2, 50):
            for ahead in (0, 1):
                exact = float(1 - Fraction(decay) ** (t + ahead))
                for given in [decay] if decay == 0.0 else [decay, np.asarray(decay)]:
                    found = numerics.bias_correction(np, np.asarray(float(t)), given, *([ahead] if ahead else []))
                    np.testing.assert_allclose(found, exact, rtol=5e-16)


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


def walk(tx: GradientTransformation, params: Any, gradients: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the state and the parameters after each step."""
    state = tx.init(params)
    for n, gradient in enumerate(gradients):
        updates, state = tx.update(gradient, state, params, value=1.5 + n)
        params = uniopt.apply_updates(params, updates)
        yield state, params


def slots_called(state: Any, name: str) -> list[Any]:
    """Return the arrays in every slot of a name, wherever in the state it is."""
    return [x for path, x in tree.leaves_with_paths(state, "state") if f".{name}[" in f"{path}["]
