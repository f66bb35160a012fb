"""The rates of dialects, the dialect of optax beside optax, and what the other libraries' runs do not reach."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax.numpy as jnp
import mlx.core as mx
import mlx.optimizers
import numpy as np
import optax
import pytest

import uniopt
from uniopt import dialects, numerics
from uniopt.dialects import rates

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "optimistic_gradient_descent": [
        {"learning_rate": 0.5},
        {"learning_rate": 0.5, "alpha": 0.25, "beta": 2.0},
    ],
    "polyak_sgd": [
        {},
        {"max_learning_rate": 8.0, "scaling": 0.5, "f_min": 0.25, "eps": 0.5},
        {"max_learning_rate": 8.0, "scaling": 2.0, "eps": 0.5, "variant": "sps+"},
    ],
    "rprop": [
        {"learning_rate": 0.5},
        {"learning_rate": 0.5, "eta_minus": 0.25, "eta_plus": 2.0, "min_step_size": 0.25, "max_step_size": 1.0},
    ],
}


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for name, settings in SETTINGS.items():
        yield f"parameters of optax's {name}", partial(parameters_are_those_of_optax, name)
        for hyper in settings:
            yield f"optax's {name}, {hyper}", partial(optax_is_followed, name, hyper)
    for check in (
        an_earlier_optax_doubled_the_first_step,
        mlx_factors_the_last_two_axes,
        mlx_needs_some_rate,
        rates_change_as_they_are_told,
        spacing_is_that_of_the_dtype,
    ):
        yield check.__name__, check


def parameters_are_those_of_optax(name: str) -> None:
    own, theirs = (inspect.signature(getattr(library, name)).parameters for library in (dialects.optax, optax))
    shared = {key: p.default for key, p in own.items() if key in theirs}
    assert shared == {key: p.default for key, p in theirs.items()}
    assert own.keys() - theirs.keys() <= {"zero_first_gradient"}
    getattr(dialects.optax, name)(**SETTINGS[name][0])  # a fault is looked for by what calls the constructor


def optax_is_followed(name: str, hyper: dict[str, Any]) -> None:
    tx, peer = getattr(dialects.optax, name)(**hyper), getattr(optax, name)(**hyper)
    start = np.asarray([1.0, -2.0], np.float32)
    state, theirs = tx.init(start), peer.init(jnp.asarray(start))
    more = {"value": 1.0} if name == "polyak_sgd" else {}
    for gradient in ([0.5, 3.0], [1.0, -1.0], [1.0, -0.25], [-2.0, 0.5]):
        g = np.asarray(gradient, np.float32)
        updates, state = tx.update(g, state, start, **more)
        expected, theirs = peer.update(jnp.asarray(g), theirs, jnp.asarray(start), **more)
        assert np.allclose(updates, expected, rtol=1e-6, atol=0)


def an_earlier_optax_doubled_the_first_step() -> None:
    tx = dialects.optax.optimistic_gradient_descent(0.5, zero_first_gradient=True)
    assert np.array_equal(tx.update(np.ones(1), tx.init(np.ones(1)))[0], [-1.0])


def rates_change_as_they_are_told() -> None:
    assert rates.times(0.5, 3.0)(0) == 1.5
    assert rates.times(lambda n: n, 3.0)(2) == 6.0
    for rate, found in ((4.0, [1.0, 0.5]), (0.25, [0.25, 0.25]), (lambda n: 0.25 * n, [0.0, 0.5])):
        assert [rates.at_most_inverse_sqrt(rate)(n) for n in (0, 3)] == found
    assert [rates.in_proportion(0.5)(n) for n in (0, 1)] == [0.5, 1.0]
    assert [rates.warmed_up(2.0, 4)(n) for n in (0, 1, 7)] == [0.5, 1.0, 2.0]
    assert [rates.of_last_mini_steps(lambda n: n, 3)(n) for n in (0, 1)] == [2, 5]


def mlx_factors_the_last_two_axes() -> None:
    rng = np.random.default_rng(0)
    start, gradient = (rng.standard_normal((8, 3, 2)).astype(np.float32) for _ in range(2))
    tx, peer = dialects.mlx.Adafactor(), mlx.optimizers.Adafactor()
    expected = peer.apply_gradients({"w": mx.array(gradient)}, {"w": mx.array(start)})["w"]
    updates, _ = tx.update(gradient, tx.init(start), start)
    assert np.allclose(start + updates, np.asarray(expected), rtol=1e-5, atol=0)


def mlx_needs_some_rate() -> None:
    with pytest.raises(uniopt.errors.HyperparameterError, match="learning_rate is None"):
        dialects.mlx.Adafactor(relative_step=False)


def spacing_is_that_of_the_dtype() -> None:
    for dtype, of in ((np.float32, np.float32), (np.float16, np.float32), (np.float64, np.float64)):
        computed = np.ones(1, of if dtype is np.float16 else dtype)
        assert numerics.spacing_of_1(computed) == np.finfo(of).eps
    assert numerics.spacing_of_1(np.ones(1, np.complex64)) == np.finfo(np.float32).eps
