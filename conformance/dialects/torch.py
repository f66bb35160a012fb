"""The hyperparameters with which the constructors of `uniopt.dialects.torch` are tested."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "default": {},
        "dampened": {"lr": 0.1, "momentum": 0.75, "dampening": 0.5, "weight_decay": 0.1, "maximize": True},
        "nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        "dampened_for_nothing": {"lr": 0.1, "dampening": 0.5},
    },
    "Adam": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1, "maximize": True},
        "amsgrad": {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-2, "amsgrad": True},
        "decoupled": {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
    },
    "AdamW": {
        "default": {},
        "decay": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.3, "maximize": True},
        "amsgrad": {"lr": 0.1, "betas": (0.8, 0.9), "amsgrad": True},
    },
    "NAdam": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1, "momentum_decay": 0.25},
        "decoupled": {"lr": 0.1, "momentum_decay": 1.0, "weight_decay": 0.1, "decoupled_weight_decay": True},
        "steady": {"momentum_decay": 0.0, "maximize": True},
    },
    "RAdam": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1},
        "decoupled": {"lr": 0.1, "betas": (0.8, 0.99), "weight_decay": 0.1, "decoupled_weight_decay": True},
        "never_rectified": {"betas": (0.8, 0.5), "maximize": True},
    },
    "Adamax": {
        "default": {},
        "coupled": {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2, "weight_decay": 0.1, "maximize": True},
    },
    "Adagrad": {
        "default": {},
        "falling": {"lr": 0.1, "lr_decay": 0.25, "weight_decay": 0.1, "eps": 1e-2, "maximize": True},
        "begun": {"lr": 0.1, "initial_accumulator_value": 0.5, "lr_decay": 1.0},
    },
    "Adadelta": {
        "default": {},
        "coupled": {"lr": 0.5, "rho": 0.5, "eps": 1e-2, "weight_decay": 0.1, "maximize": True},
    },
    "RMSprop": {
        "default": {},
        "momentum": {"lr": 0.1, "alpha": 0.75, "eps": 1e-2, "weight_decay": 0.1, "momentum": 0.5, "maximize": True},
        "centered": {"lr": 0.1, "alpha": 0.75, "eps": 0.1, "centered": True},
        "both": {"lr": 0.1, "alpha": 0.5, "eps": 0.1, "centered": True, "momentum": 0.9},
    },
    "Adafactor": {
        "default": {},
        "decay": {"lr": 0.25, "beta2_decay": -0.5, "eps": (1e-2, 0.25), "d": 2.0, "weight_decay": 0.1},
        "large": {"lr": 2.0, "eps": (1e-10, 1e-3), "maximize": True},
    },
    "Rprop": {
        "default": {},
        "etas": {"lr": 0.1, "etas": (0.25, 1.5), "step_sizes": (0.05, 0.2), "maximize": True},
        "above_the_bounds": {"lr": 1.0, "step_sizes": (0.01, 0.2)},
        "below_the_bounds": {"lr": 1e-3, "step_sizes": (0.01, 0.2)},
    },
    "ASGD": {
        "default": {},
        "fast": {"lr": 0.1, "lambd": 0.25, "alpha": 0.5, "t0": 3, "weight_decay": 0.1, "maximize": True},
    },
    "Muon": {
        "default": {},
        "matched": {
            "lr": 0.1,
            "weight_decay": 0.25,
            "momentum": 0.5,
            "nesterov": False,
            "ns_coefficients": (2.0, -1.5, 0.5),
            "ns_steps": 3,
            "eps": 0.5,
            "adjust_lr_fn": "match_rms_adamw",
        },
    },
}
"""The hyperparameters of each class, by a name for them. A new constructor gets its line here."""
