"""keras's own optimizers, and the settings in which the dialect is held against them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

import uniopt
from tests.dialects.problems import Tree
from uniopt import GradientTransformation
from uniopt.dialects import keras as dialect

RATE = 2.0**-6

ADAM = {"beta_1": 0.75, "beta_2": 0.875, "epsilon": 2.0**-7}
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
        "no decay": {"weight_decay": None, "muon_a": 2.0, "muon_b": -1.5, "muon_c": 0.5},
    },
    "ScheduleFreeAdamW": {
        "default": {},
        "others": {**ADAM, "warmup_steps": 8, "weight_decay": 0.25},
        "accumulated": {"gradient_accumulation_steps": 2},
    },
}
"""The hyperparameters of each class, by a name for them."""

CASES = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]


def build(name: str, setting: str, falls_at: int) -> GradientTransformation:
    """Return uniopt's transformation; at some step its learning rate falls to a quarter."""
    rate = uniopt.piecewise_constant_schedule(RATE, {falls_at: 0.25})
    tx: GradientTransformation = getattr(dialect, name)(learning_rate=rate, **SETTINGS[name][setting])
    return tx


class Falling(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # untyped
    """A learning rate that falls to a quarter at some step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, step: Any) -> Any:
        return keras.ops.where(step < self.at, RATE, RATE / 4)


class Unaliased(keras.optimizers.ScheduleFreeAdamW):  # type: ignore[misc]  # untyped
    """ScheduleFreeAdamW whose old momentum stays as it was.

    On torch, keras overwrites it in place before it is used, and so computes something else than on its other backends.
    """

    def assign_sub(self, variable: Any, value: Any) -> None:
        if keras.backend.backend() == "torch":
            variable._value = variable.value.clone()
        super().assign_sub(variable, value)


@contextmanager
def scalars_like(dtype: str) -> Iterator[None]:
    """Let keras keep its own scalars in that dtype."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def host(variable: Any) -> Any:
    """Return a copy of a variable's value."""
    value = variable.value
    return np.array(value.detach().numpy() if hasattr(value, "detach") else value)  # keras's own way makes NumPy warn


def of_peer(name: str, setting: str, falls_at: int, start: Tree, stream: list[Tree]) -> list[list[Any]]:
    """Return the leaves at the start and after each step of keras's own optimizer."""
    leaves, structure = uniopt.tree.flatten(start)
    dtype = str(leaves[0].dtype)
    with scalars_like(dtype):
        paths = [path.replace(".", "_") for path in uniopt.tree.dotted_paths(structure)]
        variables = [keras.Variable(np.array(x), dtype=dtype, name=name) for x, name in zip(leaves, paths, strict=True)]
        make = Unaliased if name == "ScheduleFreeAdamW" else getattr(keras.optimizers, name)
        optimizer = make(learning_rate=Falling(falls_at), **SETTINGS[name][setting])
        path = [leaves]
        for gradient in stream:
            gradients = [keras.ops.convert_to_tensor(g, dtype=dtype) for g in structure.flatten_up_to(gradient)]
            optimizer.apply(gradients, variables)
            path.append([host(x) for x in variables])
    return path
