"""mlx's own optimizers, and the settings in which the dialect is held against them."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.optimizers
import numpy as np

import uniopt
from tests.dialects.problems import Tree
from uniopt import GradientTransformation
from uniopt.dialects import mlx as dialect

RATE = 2.0**-6  # a power of 2, because mlx holds it in float32

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "default": {},
        "dampened": {"momentum": 0.75, "weight_decay": 0.125, "dampening": 0.5},
        "nesterov": {"momentum": 0.875, "nesterov": True},
        "decay alone": {"weight_decay": 0.25, "dampening": 0.5},
    },
    "RMSprop": {"default": {}, "others": {"alpha": 0.75, "eps": 2.0**-7}},
    "Adagrad": {"default": {}, "others": {"eps": 2.0**-7}},
    "AdaDelta": {"default": {}, "others": {"rho": 0.75, "eps": 2.0**-7}},
    "Adam": {
        "default": {},
        "others": {"betas": [0.75, 0.875], "eps": 2.0**-7},
        "corrected": {"betas": [0.75, 0.875], "eps": 2.0**-7, "bias_correction": True},
        "corrected, default": {"bias_correction": True},
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
        "own rate": {"learning_rate": RATE, "relative_step": False, "clip_threshold": 0.5, "decay_rate": -0.5},
        "momentum": {"beta_1": 0.75, "weight_decay": 0.5, "eps": (1e-2, 0.5)},
        "unscaled": {"scale_parameter": False, "beta_1": 0.5, "weight_decay": 0.5},
    },
    "Muon": {
        "default": {},
        "plain": {"momentum": 0.75, "weight_decay": 0.5, "nesterov": False, "ns_steps": 3},
        "no decay": {"momentum": 0.5, "weight_decay": 0.0},
    },
}
"""The hyperparameters of each class, by a name for them."""

CASES = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]


def _given(name: str, setting: str, rate: Any) -> dict[str, Any]:
    options = SETTINGS[name][setting]
    return {**options, "learning_rate": rate} if name != "Adafactor" or "learning_rate" in options else options


def build(name: str, setting: str, falls_at: int) -> GradientTransformation:
    """Return uniopt's transformation; at some step its learning rate falls to a quarter."""
    rate = uniopt.piecewise_constant_schedule(RATE, {falls_at: 0.25})
    tx: GradientTransformation = getattr(dialect, name)(**_given(name, setting, rate))
    return tx


def of_peer(name: str, setting: str, falls_at: int, start: Tree, stream: list[Tree]) -> list[list[Any]]:
    """Return the leaves at the start and after each step of mlx's own optimizer."""
    dtype = {"float32": mx.float32, "float64": mx.float64}[str(uniopt.tree.leaves(start)[0].dtype)]

    def put(values: Tree) -> Tree:
        return uniopt.tree.map(lambda x: mx.array(x, dtype=dtype), values)

    rate = mx.array(RATE)
    optimizer = getattr(mlx.optimizers, name)(
        **_given(name, setting, lambda step: mx.where(step < falls_at, rate, rate / 4))
    )
    params, path = put(start), [uniopt.tree.leaves(start)]
    for gradient in stream:
        params = optimizer.apply_gradients(put(gradient), params)
        path.append([np.array(x) for x in uniopt.tree.leaves(params)])
    return path
