"""The hyperparameters with which the constructors of `uniopt.dialects.keras` are tested, but for learning rates."""

from __future__ import annotations

from typing import Any

ADAM: dict[str, Any] = {"beta_1": 0.75, "beta_2": 0.875, "epsilon": 2.0**-7}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "default": {},
        "momentum": {"momentum": 0.75, "weight_decay": 0.125, "clipnorm": 2.0},
        "nesterov": {"momentum": 0.875, "nesterov": True, "global_clipnorm": 2.0},
        "averaged": {"momentum": 0.5, "use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 3},
        "accumulated": {"momentum": 0.5, "gradient_accumulation_steps": 3, "weight_decay": 0.5, "clipvalue": 0.5},
        "all": {
            "momentum": 0.5,
            "loss_scale_factor": 4.0,
            "gradient_accumulation_steps": 2,
            "global_clipnorm": 0.5,
            "weight_decay": 0.5,
            "use_ema": True,
            "ema_momentum": 0.75,
            "ema_overwrite_frequency": 2,
        },
    },
    "RMSprop": {
        "default": {},
        "others": {"rho": 0.75, "momentum": 0.5, "epsilon": 2.0**-7, "weight_decay": 0.25},
        "centered": {"rho": 0.75, "epsilon": 2.0**-4, "centered": True},
        "both": {"rho": 0.5, "momentum": 0.75, "epsilon": 2.0**-4, "centered": True},
    },
    "Adam": {
        "default": {},
        "others": {**ADAM, "weight_decay": 0.25},
        "amsgrad": {**ADAM, "amsgrad": True, "clipnorm": 1.0},
        "accumulated": {**ADAM, "gradient_accumulation_steps": 3},
        "averaged": {**ADAM, "use_ema": True},
    },
    "AdamW": {"default": {}, "others": {**ADAM, "weight_decay": 0.5, "amsgrad": True}},
    "Adadelta": {"default": {}, "others": {"rho": 0.75, "epsilon": 2.0**-7, "weight_decay": 0.25}},
    "Adagrad": {"default": {}, "others": {"initial_accumulator_value": 0.5, "epsilon": 2.0**-7, "weight_decay": 0.25}},
    "Adamax": {"default": {}, "others": {**ADAM, "weight_decay": 0.25}},
    "Adafactor": {
        "default": {},
        "others": {
            "beta_2_decay": -0.5,
            "epsilon_1": 1e-2,
            "epsilon_2": 0.5,
            "clip_threshold": 0.5,
            "relative_step": False,
            "weight_decay": 0.5,
        },
        "accumulated": {"gradient_accumulation_steps": 2},
    },
    "Nadam": {
        "default": {},
        "others": {**ADAM, "weight_decay": 0.25},
        "accumulated": {"gradient_accumulation_steps": 2},
    },
    "Ftrl": {
        "default": {},
        "others": {
            "learning_rate_power": -0.75,
            "initial_accumulator_value": 0.5,
            "l1_regularization_strength": 0.25,
            "l2_regularization_strength": 0.5,
            "l2_shrinkage_regularization_strength": 0.125,
            "beta": 0.25,
            "weight_decay": 0.25,
        },
    },
    "Lion": {"default": {}, "others": {"beta_1": 0.75, "beta_2": 0.875, "weight_decay": 0.5}},
    "Lamb": {"default": {}, "others": {**ADAM, "weight_decay": 0.5}},
    "Muon": {
        "default": {},
        "others": {
            "adam_beta_1": 0.75,
            "adam_beta_2": 0.875,
            "adam_weight_decay": 0.25,
            "epsilon": 2.0**-7,
            "weight_decay": 0.5,
            "exclude_embeddings": False,
            "exclude_layers": ["dense.k"],
            "adam_lr_ratio": 0.5,
            "momentum": 0.75,
            "ns_steps": 3,
            "nesterov": False,
            "rms_rate": None,
        },
        "no_decay": {"weight_decay": None, "muon_a": 2.0, "muon_b": -1.5, "muon_c": 0.5},
    },
    "ScheduleFreeAdamW": {
        "default": {},
        "others": {**ADAM, "warmup_steps": 8, "weight_decay": 0.25},
        "accumulated": {"gradient_accumulation_steps": 2},
    },
}
"""The hyperparameters of each class, by a name for them. A new constructor gets its line here."""
