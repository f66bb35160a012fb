"""The hyperparameters with which those constructors of `uniopt.dialects.optax` are tested that are not uniopt's own."""

from __future__ import annotations

from typing import Any

from uniopt.conformance.settings import FALLING, RATE

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "optimistic_gradient_descent": {
        "default": RATE,
        "weights": {**FALLING, "alpha": 0.5, "beta": 0.25},
        "from_zero": {**FALLING, "alpha": 0.5, "beta": 0.25, "zero_first_gradient": True},
    },
    "polyak_sgd": {
        "default": {},
        "bounded": {"max_learning_rate": 0.015625, "scaling": 2.0, "f_min": 0.25, "eps": 0.5},
        "scaled": {"scaling": 0.5, "variant": "sps+", "f_min": 2.5},
        "schedule": {"scaling": FALLING["learning_rate"]},
    },
    "rprop": {
        "default": RATE,
        "etas": {**RATE, "eta_minus": 0.25, "eta_plus": 1.5, "min_step_size": 0.0625, "max_step_size": 0.1875},
    },
}
"""The hyperparameters of each function, by a name for them. A new constructor gets its line here."""
