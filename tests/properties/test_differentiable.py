"""An update can be differentiated: the gradient of a loss after three steps with respect to the learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import float64, require
from tests.properties.problems import PLAIN, Case, moved

STEPS = 3
RATE = 0.05


def problem() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(11)
    params = {"w": rng.standard_normal((3, 2)), "b": [rng.standard_normal(2), np.asarray(0.5)]}
    return params, rng.standard_normal((8, 3)), rng.standard_normal((8, 2))


def loss(xp: Any, params: Any, x: Any, y: Any) -> Any:
    residual = xp.tanh(x @ params["w"]) + params["b"][0] * params["b"][1] - y
    return xp.mean(residual * residual)


def gradient_of_loss(xp: Any, params: Any, x: Any, y: Any) -> Any:
    """Derive the gradient of `loss` by hand, so that every library differentiates the same arithmetic."""
    hidden = xp.tanh(x @ params["w"])
    b, c = params["b"]
    error = 2.0 * (hidden + b * c - y) / (y.shape[0] * y.shape[1])
    columns = xp.sum(error, axis=0)
    return {"w": x.T @ (error * (1.0 - hidden * hidden)), "b": [columns * c, xp.sum(columns * b)]}


def validation_loss(xp: Any, case: Case, rate: Any, params: Any, x: Any, y: Any) -> Any:
    tx = case.build(learning_rate=rate)
    state = tx.init(params)
    for _ in range(STEPS):
        updates, state = tx.update(gradient_of_loss(xp, params, x[:4], y[:4]), state, params)
        params = uniopt.apply_updates(params, updates)
    return loss(xp, params, x[4:], y[4:])


def by_jax(case: Case) -> tuple[float, float]:
    import jax

    with float64("jax"):
        data = moved(problem(), require("jax"))
        value, slope = jax.value_and_grad(lambda rate: validation_loss(jax.numpy, case, rate, *data))(
            jax.numpy.asarray(RATE)
        )
        assert slope.dtype == np.float64
        return float(value), float(slope)


def by_torch(case: Case) -> tuple[float, float]:
    import torch

    data = moved(problem(), require("torch"))
    rate = torch.tensor(RATE, dtype=torch.float64, requires_grad=True)
    value = validation_loss(torch, case, rate, *data)
    value.backward()
    return value.item(), rate.grad.item()


def by_numpy(case: Case) -> tuple[float, float]:
    def f(rate: float) -> float:
        return float(validation_loss(np, case, rate, *problem()))

    h = 1e-4  # central difference of fourth order
    slope = (8 * (f(RATE + h) - f(RATE - h)) - (f(RATE + 2 * h) - f(RATE - 2 * h))) / (12 * h)
    return f(RATE), slope


QUICK = [PLAIN[2], PLAIN[5], PLAIN[8], PLAIN[14], PLAIN[19], PLAIN[21]]  # every rule, with its switches on
WIDE = [case for case in PLAIN if case not in QUICK and case.optimizer != "noisy_sgd"]
WIDE.append(Case("noisy_sgd", {"learning_rate": 0.1, "eta": 0.01}))
DIFFERENTIABLE = [*QUICK, *(pytest.param(case, marks=pytest.mark.wide) for case in WIDE)]


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_slope_along_the_learning_rate(case: Case) -> None:
    value, slope = by_torch(case)
    difference_value, difference_slope = by_numpy(case)
    assert abs(slope) > 1e-4
    assert value == pytest.approx(difference_value, rel=1e-12)
    assert slope == pytest.approx(difference_slope, rel=1e-7)
    jax_value, jax_slope = by_jax(case)
    assert value == pytest.approx(jax_value, rel=1e-12)
    assert slope == pytest.approx(jax_slope, rel=1e-10)


@pytest.mark.parametrize("name", ["b1", "eps", "weight_decay"])
def test_slope_along_other_hyperparameters(name: str) -> None:
    import jax
    import torch

    def after_two_steps(xp: Any, value: Any, p: Any) -> Any:
        tx = uniopt.adamw(0.1, **{name: value})
        state = tx.init(p)
        for k in (1.0, 3.0):
            updates, state = tx.update(k * p, state, p)
            p = uniopt.apply_updates(p, updates)
        return xp.sum(p * p)

    start = np.asarray([1.0, -0.5, 0.25])
    with float64("jax"):
        theirs = float(jax.grad(lambda v: after_two_steps(jax.numpy, v, jax.numpy.asarray(start)))(0.25))
    value = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    after_two_steps(torch, value, torch.asarray(start)).backward()
    assert value.grad.item() != 0
    assert value.grad.item() == pytest.approx(theirs, rel=1e-10)


def test_slope_along_the_parameters_through_the_state() -> None:
    """The moments carry the graph from one step to the next."""
    import torch

    p = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    tx = uniopt.sgd(0.5, momentum=0.5)
    state = tx.init(p.detach())
    q = p
    for _ in range(2):
        updates, state = tx.update(q, state, q)
        q = uniopt.apply_updates(q, updates)
    q.sum().backward()
    # q1 = p/2; m = p/2 + p/2 = p; q2 = p/2 - p/2 = 0, whose slope is 1/2 - 1/2.
    np.testing.assert_allclose(q.detach(), 0.0, atol=1e-15)
    np.testing.assert_allclose(p.grad, 0.0, atol=1e-15)
