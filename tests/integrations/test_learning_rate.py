"""The learning rate of a built transformation, put into its state: the same steps, and another rate when it is set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from uniopt import dialects
from uniopt.integrations.learning_rate import in_state, learning_rates

RATE, OTHER = 0.125, 0.03125


def made(name: str, rate: float) -> Any:
    first = next(iter(SETTINGS[name].values()))
    hyper = {key: x.for_uniopt if isinstance(x, Written) else x for key, x in first.items()}
    return getattr(uniopt, name)(**{**hyper, "learning_rate": rate})


NO_RATE = ("optimistic_adam",)  # it is in two factors
WITH_RATE = [
    name
    for name, settings in SETTINGS.items()
    if "learning_rate" in next(iter(settings.values())) and name not in NO_RATE
]
DIALECTS = {
    "mlx.Adafactor": lambda rate: dialects.mlx.Adafactor(rate, relative_step=False, weight_decay=0.25, beta_1=0.5),
    "mlx.AdamW": lambda rate: dialects.mlx.AdamW(rate, weight_decay=0.25),
    "keras.Adafactor": lambda rate: dialects.keras.Adafactor(rate, weight_decay=0.25),
    "keras.Lamb": lambda rate: dialects.keras.Lamb(rate, weight_decay=0.25, gradient_accumulation_steps=2),
    "keras.Muon": lambda rate: dialects.keras.Muon(rate, use_ema=True),
    "torch.Adagrad": lambda rate: dialects.torch.Adagrad(lr=rate, weight_decay=0.25),
    "torch.Adafactor": lambda rate: dialects.torch.Adafactor(lr=rate, weight_decay=0.25),
}


def walked(tx: Any, state: Any, params: Any, rng: Any) -> tuple[Any, Any]:
    for _ in range(3):
        grads = {name: rng.standard_normal(p.shape) for name, p in params.items()}
        updates, state = tx.update(grads, state, params, value=1.0)
        params = uniopt.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("name", [*WITH_RATE, *DIALECTS])
def test_it_is_found_and_set(name: str) -> None:
    """After three steps the rate is set, and the state is given to an optimizer that was built with that rate."""
    build = DIALECTS.get(name, lambda rate: made(name, rate))
    assert learning_rates(build(RATE)) == [RATE]
    params = {"w": np.linspace(-1.0, 1.0, 12).reshape(3, 4), "b": np.ones(4)}
    tx = in_state(build(RATE))
    reached, state = walked(tx, tx.init(params), params, np.random.default_rng(0))
    plain, plain_state = walked(build(RATE), build(RATE).init(params), params, np.random.default_rng(0))
    assert_near(reached, plain)
    state.hyperparams["learning_rate"] = OTHER
    found, _ = walked(tx, state, reached, np.random.default_rng(1))
    expected, _ = walked(build(OTHER), plain_state, plain, np.random.default_rng(1))
    assert_near(found, expected)


def assert_near(found: Any, expected: Any) -> None:
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-14)


def test_what_stays_as_it_is() -> None:
    schedule = uniopt.linear_schedule(0.1, 0.0, 10)
    for tx, rates in (
        (uniopt.adam(schedule), [schedule]),
        (uniopt.chain(uniopt.sgd(0.5), uniopt.sgd(0.25)), [0.5, 0.25]),
        (uniopt.trace(0.5), []),
        (uniopt.optimistic_adam(0.5), []),
        (uniopt.dialects.keras.ScheduleFreeAdamW(0.5), [0.5, 1.0]),  # the second one weighs the averages
        (uniopt.dialects.mlx.Adafactor(), [0.01]),
    ):
        assert learning_rates(tx) == rates
        assert list(in_state(tx).init(np.ones(2)).hyperparams) == (["learning_rate"] if rates == [0.01] else [])
    within = uniopt.chain(uniopt.clip(1.0), uniopt.inject_hyperparams(uniopt.adam)(learning_rate=0.5))
    assert learning_rates(within) == []
    injected = uniopt.inject_hyperparams(uniopt.adam)(learning_rate=0.5)
    assert in_state(injected) is injected
    assert learning_rates(injected) == [0.5]
