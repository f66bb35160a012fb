"""Every schedule that uniopt exports: on every library, traced, compiled, as a value, and with wrong arguments."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
import uniopt.schedules
from tests.conftest import float64, require
from tests.fusion.walks import assert_same_bits, compiled, eager, in_torch
from tests.shown import SHOWN

COUNTS = [0, 1, 4, 5, 7, 10, 11, 29, 30, 31, 70, 1000]
CALLS = [
    "constant_schedule(0.3)",
    "cosine_annealing_schedule(0.5, 20, 0.1)",
    "cosine_decay_schedule(0.5, 30, 0.2, 1.5)",
    "cosine_onecycle_schedule(40, 0.5)",
    "cosine_restarts_schedule(0.5, 10)",
    "cosine_restarts_schedule(0.5, 10, t_mul=2.0, m_mul=0.75, alpha=0.125)",
    "cosine_restarts_schedule(0.5, 9.5, t_mul=1.5)",
    "cyclic_schedule(0.1, 0.5, 7, 4, decay_per_cycle=0.75, decay_per_step=0.99)",
    "exponential_decay(0.5, 7, 0.9)",
    "exponential_decay(0.5, 7, 0.9, 3, staircase=True, end_value=0.2)",
    "exponential_decay(0.5, 7, 2.0, end_value=0.75)",
    "inverse_sqrt_schedule(0.5, 10, 5)",
    "inverse_time_decay(0.5, 10, 0.3, 5, staircase=True)",
    "join_schedules([constant_schedule(0.5), cosine_decay_schedule(0.4, 20), constant_schedule(0.1)], [4, 29.5])",
    "linear_onecycle_schedule(40, 0.5)",
    "linear_schedule(0.5, 0.1, 20, 5)",
    "piecewise_constant_schedule(0.5, {5: 0.5, 30: 0.1})",
    "piecewise_interpolate_schedule('cosine', 0.5, {5: 2.0, 30: 0.125})",
    "piecewise_interpolate_schedule('linear', 0.5, {0: 2.0, 10.5: 3.0, 30: 0.125})",
    "polynomial_restarts_schedule(0.5, 0.1, 1.5, 10)",
    "polynomial_schedule(0.5, 0.1, 0.5, 20, 5)",
    "sgdr_schedule([dict(init_value=0.1, peak_value=x, warmup_steps=3, decay_steps=20) for x in (0.5, 0.25)])",
    "warmup_constant_schedule(0.1, 0.5, 10)",
    "warmup_cosine_decay_schedule(0.1, 0.5, 10, 40, 0.05, 2.0)",
    "warmup_exponential_decay_schedule(0.1, 0.5, 10, 7, 0.5, 3, True, 0.05)",
    "warmup_inverse_sqrt_schedule(0.1, 0.5, 10)",
    "warmup_stable_decay_schedule(0.1, 0.5, 5, 20, 10, 0.05)",
    "warmup_stable_decay_schedule(0.1, 0.5, 5, 20, 10, 0.05, 'cosine')",
    "warmup_stable_decay_schedule(0.1, 0.5, 5, 20, 10, 0.05, '1-sqrt')",
]
every_schedule = pytest.mark.parametrize("call", CALLS)


def made(call: str) -> Any:
    return eval(call, dict(SHOWN))


def test_no_schedule_is_left_out() -> None:
    names = {name for name, f in vars(uniopt.schedules).items() if inspect.isfunction(f)}
    assert names == {call.split("(")[0] for call in CALLS}
    assert all(getattr(uniopt, name) is getattr(uniopt.schedules, name) for name in names)


@every_schedule
def test_an_array_gives_an_array_of_its_library(backend: Backend, call: str) -> None:
    schedule = made(call)
    with float64(backend.name):
        for n in COUNTS[1::3]:
            value = schedule(backend.asarray(n, dtype=backend.xp.int32))
            assert uniopt.backends.find(type(value)) is backend
            assert tuple(value.shape) == ()
            assert backend.dtypes().get("float64", backend.xp.float32) == value.dtype
            expected = schedule(n)
            assert type(expected) is float
            assert float(backend.to_numpy(value)) == pytest.approx(expected, rel=1e-13, abs=1e-15)


@every_schedule
def test_many_counts_at_once(call: str) -> None:
    schedule = made(call)
    expected = [schedule(n) for n in COUNTS]
    np.testing.assert_allclose(schedule(np.asarray(COUNTS)), expected, rtol=1e-13, atol=1e-15)
    assert type(schedule(np.asarray(3, np.int32))) is np.ndarray  # not a scalar


@every_schedule
def test_traced_by_jax(call: str) -> None:
    import jax

    schedule, counts = made(call), np.asarray(COUNTS, np.int32)
    expected = [schedule(n) for n in COUNTS]
    one = jax.jit(schedule)
    np.testing.assert_allclose([one(n) for n in counts], expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(counts), expected, rtol=1e-6, atol=1e-7)
    _, scanned = jax.lax.scan(lambda n, _: (n + 1, schedule(n)), np.int32(0), None, length=40)
    np.testing.assert_allclose(scanned, [schedule(n) for n in range(40)], rtol=1e-6, atol=1e-7)


@every_schedule
def test_traced_by_mlx_and_torch_and_lazy_in_dask(call: str) -> None:
    import mlx.core as mx
    import torch

    schedule = made(call)
    expected = [schedule(n) for n in COUNTS]
    by_mlx = mx.vmap(schedule)(mx.array(COUNTS, mx.int32))
    np.testing.assert_allclose(by_mlx, expected, rtol=1e-13, atol=1e-15)
    by_torch = torch.func.vmap(schedule)(torch.asarray(COUNTS, dtype=torch.int32))
    np.testing.assert_allclose(by_torch, expected, rtol=1e-13, atol=1e-15)
    by_dask = schedule(require("dask").asarray(7, dtype=np.int32))
    assert by_dask.compute() == pytest.approx(schedule(7), rel=1e-13)


@every_schedule
def test_traced_by_torch_in_one_graph(call: str) -> None:
    import torch

    schedule, count = made(call), torch.tensor(7, dtype=torch.int32)
    expected = schedule(count)  # the first tensor loads the backend, which no graph can hold
    torch._dynamo.reset()
    assert torch.compile(schedule, backend="eager", fullgraph=True)(count) == expected


@every_schedule
def test_compiled_steps_have_the_bits_of_eager_ones(call: str) -> None:
    """Warnings are errors here, that of a step that could not be recorded too."""
    tx = uniopt.sgd(made(call))
    params, grads = {"w": np.ones(3, np.float32)}, {"w": np.asarray([0.1, -0.7, 3.0], np.float32)}
    walks = (
        eager(tx, params, [grads], 45),
        compiled(tx, {"w": np.ones(3, np.float32)}, [grads], 45),
        compiled(tx, in_torch(params), [in_torch(grads)], 45),
    )
    for k, (expected, by_numpy, by_torch) in enumerate(zip(*walks, strict=True)):
        assert_same_bits(by_numpy, expected, f"NumPy, step {k}")
        assert_same_bits(by_torch, expected, f"torch, step {k}")


@every_schedule
def test_as_a_value(call: str) -> None:
    schedule = made(call)
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule == made(call)
    assert hash(again) == hash(schedule)
    assert again != uniopt.constant_schedule(0.25)
    assert made(repr(schedule)) == schedule
    assert [again(n) for n in COUNTS] == [schedule(n) for n in COUNTS]


DIFFERENTIABLE = {
    "constant_schedule": uniopt.constant_schedule,
    "linear_schedule": lambda x: uniopt.linear_schedule(x, 2 * x, 20),
    "polynomial_schedule": lambda x: uniopt.polynomial_schedule(x, 2 * x, x, 20),
    "polynomial_restarts_schedule": lambda x: uniopt.polynomial_restarts_schedule(x, 2 * x, x, 20),
    "exponential_decay": lambda x: uniopt.exponential_decay(x, 5, x, end_value=x / 8),
    "exponential_decay, joined": lambda x: uniopt.join_schedules(
        [uniopt.constant_schedule(x), uniopt.exponential_decay(x, 1, x)], [2000]
    ),
    "inverse_time_decay": lambda x: uniopt.inverse_time_decay(x, 5, x, power=x),
    "cosine_decay_schedule": lambda x: uniopt.cosine_decay_schedule(x, 20, x / 4, 1.5),
    "cosine_annealing_schedule": lambda x: uniopt.cosine_annealing_schedule(x, 20, x / 4),
    "cosine_restarts_schedule": lambda x: uniopt.cosine_restarts_schedule(x, 7, 2.0, x, x / 4),
    "cyclic_schedule": lambda x: uniopt.cyclic_schedule(x, 2 * x, 5, 7, x, x),
    "piecewise_constant_schedule": lambda x: uniopt.piecewise_constant_schedule(x, {5: x}),
    "piecewise_interpolate_schedule": lambda x: uniopt.piecewise_interpolate_schedule("cosine", x, {5: x, 30: x}),
    "linear_onecycle_schedule": lambda x: uniopt.linear_onecycle_schedule(40, x, div_factor=2 * x),
    "warmup_stable_decay_schedule": lambda x: uniopt.warmup_stable_decay_schedule(x, x, 5, 9, 9, x / 4, "1-sqrt"),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.usefixtures("x64")
def test_hyperparameters_may_be_traced(name: str) -> None:
    import jax
    import jax.numpy as jnp

    make, point, width = DIFFERENTIABLE[name], 0.5, 2.0**-20
    at = jax.jit(jax.value_and_grad(lambda x, count: make(x)(count)))
    for n in COUNTS:
        value, slope = at(jnp.float64(point), jnp.int32(n))
        assert float(value) == pytest.approx(make(point)(n), rel=1e-12, abs=1e-300)
        about = (make(point + width)(n) - make(point - width)(n)) / (2 * width)
        assert float(slope) == pytest.approx(about, rel=1e-6, abs=1e-8), n


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_count_of_numpy_meets_traced_hyperparameters(name: str) -> None:
    import jax

    make = DIFFERENTIABLE[name]
    for count in (np.int32(7), np.asarray(7)):
        assert float(jax.jit(lambda x, count=count: make(x)(count))(0.5)) == pytest.approx(make(0.5)(7), rel=1e-5)


def test_a_schedule_is_not_asked_before_its_turn(backend: Backend) -> None:
    """A function of the user's own may have no value below 0, and may return a number."""
    asked = []

    def own(count: Any) -> Any:
        asked.append(float(backend.to_numpy(count)) if hasattr(count, "shape") else count)
        return 0.5

    schedule = uniopt.join_schedules([own, own, lambda n: 1.0 / (1.0 + n)], [3, 2**40])
    for n in (0, 3, 5):
        value = schedule(backend.asarray(n, dtype=backend.xp.int32))
        assert float(backend.to_numpy(value)) == 0.5
        assert schedule(n) == 0.5
    assert set(asked) == {0, 2, 3, 5}


def test_growth_stays_finite(backend: Backend) -> None:
    """Python raises an error where a power is too large, and NumPy warns."""
    schedule = uniopt.exponential_decay(1.0, 1, 2.0, end_value=8.0)
    assert schedule(100_000) == 8.0
    assert float(backend.to_numpy(schedule(backend.asarray(100_000, dtype=backend.xp.int32)))) == 8.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("constant_schedule('a')", "value is 'a', expected a number or a 0-d array."),
        ("linear_schedule(0.0, 1.0, 'a')", "transition_steps is 'a', expected a number"),
        ("linear_schedule(0.0, 1.0, float('inf'))", "transition_steps is inf, expected a finite number of steps."),
        ("polynomial_schedule(0.0, 1.0, -1.0, 10)", "power is -1.0, expected a number not below 0"),
        (
            "polynomial_restarts_schedule(0.0, 1.0, 1.0, 0)",
            "transition_steps is 0, expected a number of steps above 0.",
        ),
        ("exponential_decay(1.0, 10, -0.5)", "decay_rate is -0.5, expected a number not below 0"),
        ("inverse_sqrt_schedule(1.0, 0)", "transition_steps is 0, expected a number of steps above 0."),
        ("cosine_decay_schedule(1.0, 0)", "decay_steps is 0, expected a number of steps above 0."),
        ("cosine_annealing_schedule(1.0, -5)", "transition_steps is -5, expected a number of steps above 0."),
        ("cosine_restarts_schedule(1.0, 10, t_mul=0.5)", "t_mul is 0.5, expected a number not below 1"),
        ("cyclic_schedule(0.0, 1.0, 10, 0)", "fall_steps is 0, expected a number of steps above 0."),
        (
            "piecewise_constant_schedule(1.0, {10: -1.0})",
            "boundaries_and_scales[10] is -1.0, expected a number not below",
        ),
        ("piecewise_constant_schedule(1.0, {-1: 1.0})", "boundary -1, expected a step count not below 0."),
        ("piecewise_constant_schedule(1.0, [10])", "[10], expected a dict of step counts and factors."),
        (
            "piecewise_interpolate_schedule('cubic', 1.0)",
            "interpolate_type is 'cubic', expected one of linear, cosine.",
        ),
        ("linear_onecycle_schedule(10, 1.0, 0.5, 0.4)", "expected 0 <= pct_start <= pct_final <= 1."),
        ("linear_onecycle_schedule(0, 1.0)", "transition_steps is 0, expected a number of steps above 0."),
        ("cosine_onecycle_schedule(10, 1.0, 1.5)", "pct_start is 1.5, expected a number between 0 and 1."),
        ("cosine_onecycle_schedule(10, 1.0, div_factor=0)", "div_factor is 0, expected a number above 0"),
        ("join_schedules([constant_schedule(1.0)], [5])", "1 schedules and 1 boundaries, expected one boundary fewer."),
        ("join_schedules([0.5, 0.1], [5])", "schedules[0] is 0.5, expected a schedule."),
        (
            "join_schedules([constant_schedule(1.0)] * 3, [5, 4])",
            "[5, 4], expected numbers of steps in ascending order.",
        ),
        ("sgdr_schedule([])", "cosine_kwargs is empty, expected one dict or more."),
        (
            "sgdr_schedule([{'init_value': 0.1}])",
            "cosine_kwargs[0] is {'init_value': 0.1}, expected arguments of warmup",
        ),
        (
            "warmup_cosine_decay_schedule(0.0, 1.0, 10, 10)",
            "decay_steps is 10, expected more than the 10 of warmup_steps",
        ),
        ("warmup_constant_schedule(0.0, 1.0, None)", "warmup_steps is None, expected a number"),
        (
            "warmup_exponential_decay_schedule(0.0, 1.0, -1, 1, 0.5)",
            "warmup_steps is -1, expected a number of steps not",
        ),
        ("warmup_inverse_sqrt_schedule(0.0, 1.0, 0)", "warmup_steps is 0, expected a number of steps above 0."),
        (
            "warmup_stable_decay_schedule(0.0, 1.0, 5, 5, 5, decay_type='x')",
            "decay_type is 'x', expected one of linear,",
        ),
        (
            "warmup_stable_decay_schedule(0.0, 1.0, 5, -5, 5)",
            "stable_steps is -5, expected a number of steps not below 0.",
        ),
    ],
)
def test_wrong_arguments(call: str, message: str) -> None:
    with pytest.raises(uniopt.errors.HyperparameterError) as raised:
        made(call)
    assert message in str(raised.value)
