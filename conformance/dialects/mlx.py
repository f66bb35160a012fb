"""The hyperparameters with which the constructors of `uniopt.dialects.mlx` are tested, but for most learning rates."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "default": {},
        "dampened": {"momentum": 0.75, "weight_decay": 0.125, "dampening": 0.5},
        "nesterov": {"momentum": 0.875, "nesterov": True},
        "decay_alone": {"weight_decay": 0.25, "dampening": 0.5},
    },
    "RMSprop": {"default": {}, "others": {"alpha": 0.75, "eps": 2.0**-7}},
    "Adagrad": {"default": {}, "others": {"eps": 2.0**-7}},
    "AdaDelta": {"default": {}, "others": {"rho": 0.75, "eps": 2.0**-7}},
    "Adam": {
        "default": {},
        "others": {"betas": [0.75, 0.875], "eps": 2.0**-7},
        "corrected": {"betas": [0.75, 0.875], "eps": 2.0**-7, "bias_correction": True},
        "corrected_by_default": {"bias_correction": True},
    },
    "AdamW": {
        "default": {},
        "others": {"betas": [0.75, 0.875], "eps": 2.0**-7, "weight_decay": 0.5},
        "corrected": {"betas": [0.75, 0.875], "weight_decay": 0.5, "bias_correction": True},
    },
    "Adamax": {"default": {}, "others": {"betas": [0.75, 0.875], "eps": 2.0**-7}},
    "Lion": {"default": {}, "others": {"betas": [0.75, 0.875], "weight_decay": 0.5}},
    "Adafactor": {
        "default": {},
        "warmup": {"warmup_init": True, "eps": (1e-30, 0.25)},
        "own_rate": {"learning_rate": 2.0**-6, "relative_step": False, "clip_threshold": 0.5, "decay_rate": -0.5},
        "momentum": {"beta_1": 0.75, "weight_decay": 0.5, "eps": (1e-2, 0.5)},
        "unscaled": {"scale_parameter": False, "beta_1": 0.5, "weight_decay": 0.5},
    },
    "Muon": {
        "default": {},
        "plain": {"momentum": 0.75, "weight_decay": 0.5, "nesterov": False, "ns_steps": 3},
        "no_decay": {"momentum": 0.5, "weight_decay": 0.0},
    },
}
"""The hyperparameters of each class, by a name for them. A new constructor gets its line here."""
