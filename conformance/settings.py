"""The hyperparameters with which each optimizer is tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import uniopt


@dataclass(frozen=True)
class Written:
    """A hyperparameter that uniopt takes in one form and plain Python in another: a schedule, or a mask."""

    for_uniopt: Any
    plain: Any


# Large rates and epsilons, so that each term is seen in the result: an epsilon of 1e-8 could stand anywhere.
RATE: dict[str, Any] = {"learning_rate": 0.125}
FALLING: dict[str, Any] = {
    "learning_rate": Written(uniopt.linear_schedule(0.5, 0.125, 5), lambda n: 0.5 - 0.375 * min(n, 5) / 5)
}
MASK = Written(
    {"empty": True, "kernel": False, "matrix": True, "scalar": False, "vector": (True, False)},
    (True, False, False, True, False, True, False),  # empty, kernel, None, matrix, scalar, vector
)
EXCEPT_MATRIX = Written(
    {"empty": True, "kernel": True, "matrix": False, "scalar": True, "vector": True},
    (True, True, True, False, True, True, True),
)
ADAMW: dict[str, Any] = {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125, "weight_decay": 0.25}
_ADAM: dict[str, dict[str, Any]] = {
    "default": RATE,
    "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125},
    "eps_root": {**RATE, "b2": 0.9, "eps": 0.0, "eps_root": 1.0},
    "schedule": FALLING,
}
_DECAY: dict[str, dict[str, Any]] = {
    **_ADAM,
    "decay": {**RATE, "weight_decay": 0.25},
    "masked": {**RATE, "weight_decay": 0.5, "mask": MASK},
}

_ADAM_LIKE: dict[str, dict[str, Any]] = {
    "default": RATE,
    "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125},
    "schedule": FALLING,
}

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "adabelief": {**_ADAM_LIKE, "nesterov": {**RATE, "nesterov": True, "eps": 0.125}},
    "adadelta": {
        "default": {"learning_rate": 8.0},
        "without_rate": {},
        "decay": {"learning_rate": 1.0, "rho": 0.5, "eps": 0.125, "weight_decay": 0.25},
        "masked": {**FALLING, "weight_decay": 0.5, "weight_decay_mask": MASK},
    },
    "adafactor": {
        "default": RATE,
        "factored": {**RATE, "min_dim_size_to_factor": 2, "decay_rate": 0.5, "eps": 0.125},
        "plain": {
            **FALLING,
            "min_dim_size_to_factor": 2,
            "multiply_by_parameter_scale": False,
            "clipping_threshold": None,
            "factored": False,
        },
        "decay": {**RATE, "min_dim_size_to_factor": 2, "weight_decay_rate": 0.25, "clipping_threshold": 0.5},
        "masked": {
            **RATE,
            "min_dim_size_to_factor": 2,
            "factored": False,
            "decay_offset": -2,
            "weight_decay_rate": 0.5,
            "weight_decay_mask": MASK,
        },
        "without_rate": {},
    },
    "adagrad": {
        "default": RATE,
        "eps": {**RATE, "initial_accumulator_value": 0.5, "eps": 0.25},
        "schedule": {**FALLING, "initial_accumulator_value": 0.0},
        "bare": {**RATE, "initial_accumulator_value": 0.0, "eps": 0.0},
    },
    "adam": {**_ADAM, "nesterov": {**RATE, "nesterov": True}, "no_momentum": {**RATE, "b1": 0.0, "nesterov": True}},
    "adamw": {**_DECAY, "nesterov": {**RATE, "nesterov": True, "weight_decay": 0.125}},
    "adamax": {"default": RATE, "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125}, "schedule": FALLING},
    "adamaxw": {
        "default": RATE,
        "decay": {**RATE, "b1": 0.5, "eps": 0.125, "weight_decay": 0.25},
        "masked": {**FALLING, "weight_decay": 0.5, "mask": MASK},
    },
    "adan": {
        "default": RATE,
        "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "b3": 0.9, "eps": 0.125, "eps_root": 0.25},
        "decay": {**FALLING, "weight_decay": 0.25, "mask": MASK},
    },
    "amsgrad": {
        **_ADAM,
        "raw": {**RATE, "bias_correction_mu": False, "bias_correction_nu": False, "eps": 0.125},
        "raw_mu": {**RATE, "bias_correction_mu": False},
        "raw_nu": {**RATE, "bias_correction_nu": False},
    },
    "asgd": {
        "default": RATE,
        "own_rate": {},
        "averaged": {**RATE, "lambd": 0.25, "alpha": 0.5, "t0": 2.0, "weight_decay": 0.125},
    },
    "fromage": {"default": RATE, "floor": {**RATE, "min_norm": 2.0}, "schedule": FALLING},
    "ftrl": {
        "default": RATE,
        "own_rate": {},
        "regularized": {
            **RATE,
            "l1_regularization_strength": 0.25,
            "l2_regularization_strength": 0.125,
            "l2_shrinkage_regularization_strength": 0.0625,
            "beta": 0.5,
        },
        "power": {**FALLING, "learning_rate_power": -0.75, "initial_accumulator_value": 0.5},
    },
    "lamb": {
        "default": RATE,
        "decay": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125, "weight_decay": 0.25},
        "masked": {**FALLING, "weight_decay": 0.5, "mask": MASK, "eps_root": 0.25},
    },
    "lars": {
        "default": RATE,
        "decay": {**RATE, "weight_decay": 0.25, "trust_coefficient": 0.5, "eps": 0.125, "nesterov": True},
        "masked": {**FALLING, "weight_decay": 0.5, "weight_decay_mask": MASK, "trust_ratio_mask": MASK},
    },
    "lion": {
        "default": RATE,
        "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "weight_decay": 0.25},
        "masked": {**FALLING, "weight_decay": 0.5, "mask": MASK},
    },
    "muon": {
        "default": RATE,
        "adaptive": {**RATE, "adaptive": True, "preconditioning": "aol", "nesterov": False, "weight_decay": 0.25},
        "schatten": {**FALLING, "preconditioning": "schatten", "ns_coeffs": "dion", "consistent_rms": 0.5},
        "masked": {**RATE, "ns_coeffs": "standard", "weight_decay": 0.5, "weight_decay_mask": EXCEPT_MATRIX},
        "spectral": {**RATE, "preconditioning": "spectral", "eps": 0.25},
        "adam": {**RATE, "adam_learning_rate": 0.25, "adam_b1": 0.5, "adam_weight_decay": 0.125, "eps": 0.125},
    },
    "nadam": _ADAM,
    "nadamw": _DECAY,
    "noisy_sgd": {
        "default": RATE,
        "loud": {**RATE, "eta": 2.0, "gamma": 0.25, "key": 2**40 + 7},
        "schedule": FALLING,
    },
    "novograd": {
        "default": RATE,
        "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125, "eps_root": 0.5, "weight_decay": 0.25},
        "schedule": FALLING,
    },
    "optimistic_adam": {
        "default": RATE,
        "optimism": {**RATE, "optimism": 0.5, "b1": 0.75, "eps": 0.125, "nesterov": False},
    },
    "optimistic_adam_v2": {
        "default": RATE,
        "weights": {**FALLING, "alpha": 0.5, "beta": 0.25, "b2": 0.75, "eps": 0.125, "nesterov": False},
    },
    "optimistic_gradient_descent": {"default": RATE, "weights": {**FALLING, "alpha": 0.5, "beta": 0.25}},
    "polyak_sgd": {
        "default": {},
        "bounded": {"max_learning_rate": 0.015625, "f_min": 0.25, "eps": 0.5},
        "far": {"f_min": -1000.0},
        "beyond": {"f_min": 2.5},
        "scaled": {"scaling": 0.5, "variant": "sps+", "f_min": 2.5},
        "schedule": {"scaling": FALLING["learning_rate"]},
    },
    "radam": {
        **_ADAM,
        "rectified": {**RATE, "b2": 0.75, "threshold": 4.5, "eps": 0.125},
        "nesterov": {**RATE, "b2": 0.5, "threshold": 2.5, "nesterov": True},
        "forgetful": {**RATE, "b2": 0.0, "threshold": 0.5, "eps": 0.125},
    },
    "rmsprop": {
        "default": RATE,
        "outside": {**RATE, "decay": 0.75, "eps": 0.125, "eps_in_sqrt": False, "momentum": 0.5},
        "scaled": {**RATE, "eps": 0.25, "initial_scale": 0.5, "bias_correction": True},
        "centered": {**RATE, "eps": 0.125, "eps_in_sqrt": False, "centered": True},
        "centered_inside": {**RATE, "eps": 0.125, "centered": True, "initial_scale": 0.5},
        # The corrected variance of one gradient is nothing but rounding, so epsilon is as large as a square.
        "corrected": {**RATE, "eps": 1.0, "centered": True, "bias_correction": True},
        "nesterov": {**FALLING, "momentum": 0.5, "nesterov": True},
    },
    "rprop": {
        "default": RATE,
        "etas": {**RATE, "eta_minus": 0.25, "eta_plus": 1.5, "min_step_size": 0.0625, "max_step_size": 0.1875},
        "largest": {"learning_rate": 45.0},
        "smallest": {"learning_rate": 1.5e-6},
    },
    "schedule_free_adamw": {
        "default": RATE,
        "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125, "weight_decay": 0.25},
        "warmup": {**RATE, "warmup_steps": 4, "weight_lr_power": 0.5},
    },
    "schedule_free_sgd": {
        "default": RATE,
        "decay": {**RATE, "b1": 0.5, "weight_decay": 0.25},
        "warmup": {**RATE, "warmup_steps": 4, "weight_lr_power": 0.5},
    },
    "sgd": {
        "default": RATE,
        "momentum": {**RATE, "momentum": 0.75},
        "nesterov": {**RATE, "momentum": 0.5, "nesterov": True},
        "schedule": {**FALLING, "momentum": 0.9},
    },
    "sign_sgd": {"default": RATE, "schedule": FALLING},
    "signum": {"default": RATE, "beta": {**FALLING, "beta": 0.5}},
    "sm3": {"default": RATE, "momentum": {**FALLING, "momentum": 0.5}},
    "yogi": {"default": RATE, "momenta": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125}, "schedule": FALLING},
}
"""The hyperparameters that each optimizer is tested with. A new optimizer gets its line here."""

DIVIDES_BY_SQUARES = {"lamb", "lars", "normalize", "scale_by_trust_ratio", "sm3"}
"""What divides by a root of squares with nothing added: where squares underflow, another path is right."""

REAL_ONLY = {"ftrl", "rprop"}
"""What compares numbers, so that it refuses complex ones."""
