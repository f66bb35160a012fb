"""The calls of torch, optax, MLX and Keras that do the same, by family: what is shared of each."""

from __future__ import annotations

from typing import Any

import keras.optimizers as k
import mlx.optimizers as m
import optax

from tests.porting.runs import MATRICES, SHAPES
from uniopt.dialects.rates import at_most_inverse_sqrt

RATE = 2.0**-4  # a power of 2, because MLX and Keras hold it in float32
LOW = 2.0**-7
BETAS = (0.75, 0.875)
ADAM = {"beta_1": BETAS[0], "beta_2": BETAS[1]}

FAMILIES: dict[str, dict[str, Any]] = {
    "SGD": {
        "torch": ("SGD", {"lr": RATE}),
        "optax": lambda: optax.sgd(RATE),
        "mlx": lambda: m.SGD(RATE),
        "keras": lambda: k.SGD(RATE),
    },
    "momentum": {
        "torch": ("SGD", {"lr": RATE, "momentum": 0.75}),
        "optax": lambda: optax.sgd(RATE, momentum=0.75),
        "mlx": lambda: m.SGD(RATE, momentum=0.75),
        "keras": lambda: k.SGD(RATE, momentum=0.75),
    },
    "nesterov": {
        "torch": ("SGD", {"lr": RATE, "momentum": 0.75, "nesterov": True}),
        "optax": lambda: optax.sgd(RATE, momentum=0.75, nesterov=True),
        "mlx": lambda: m.SGD(RATE, momentum=0.75, nesterov=True),
        "keras": lambda: k.SGD(RATE, momentum=0.75, nesterov=True),
    },
    "dampening": {
        "torch": ("SGD", {"lr": RATE, "momentum": 0.75, "dampening": 0.5}),
        "mlx": lambda: m.SGD(RATE, momentum=0.75, dampening=0.5),
    },
    "coupled decay": {
        "torch": ("SGD", {"lr": RATE, "momentum": 0.75, "weight_decay": 0.125}),
        "optax": lambda: optax.chain(optax.add_decayed_weights(0.125), optax.sgd(RATE, momentum=0.75)),
        "mlx": lambda: m.SGD(RATE, momentum=0.75, weight_decay=0.125),
    },
    "decoupled decay": {
        "optax": lambda: optax.chain(
            optax.trace(0.75), optax.add_decayed_weights(0.125), optax.scale_by_learning_rate(RATE)
        ),
        "keras": lambda: k.SGD(RATE, momentum=0.75, weight_decay=0.125),
    },
    "Adam": {
        "torch": ("Adam", {"lr": RATE, "betas": BETAS, "eps": 0.0}),
        "optax": lambda: optax.adam(RATE, *BETAS, eps=0.0),
        "mlx": lambda: m.Adam(RATE, BETAS, eps=0.0, bias_correction=True),
        "keras": lambda: k.Adam(RATE, **ADAM, epsilon=0.0),
    },
    "Adam, epsilon": {
        "torch": ("Adam", {"lr": RATE, "betas": BETAS, "eps": LOW}),
        "optax": lambda: optax.adam(RATE, *BETAS, eps=LOW),
        "mlx": lambda: m.Adam(RATE, BETAS, eps=LOW, bias_correction=True),
    },
    "AdamW": {
        "torch": ("AdamW", {"lr": RATE, "betas": BETAS, "eps": 0.0, "weight_decay": 0.25}),
        "optax": lambda: optax.adamw(RATE, *BETAS, eps=0.0, weight_decay=0.25),
        "mlx": lambda: m.AdamW(RATE, BETAS, eps=0.0, weight_decay=0.25, bias_correction=True),
        "keras": lambda: k.AdamW(RATE, 0.25, **ADAM, epsilon=0.0),
    },
    "AMSGrad": {
        "torch": ("Adam", {"lr": RATE, "betas": BETAS, "eps": 0.0, "amsgrad": True}),
        "keras": lambda: k.Adam(RATE, **ADAM, epsilon=0.0, amsgrad=True),
    },
    "NAdam": {
        "torch": ("NAdam", {"lr": RATE, "betas": BETAS, "eps": LOW, "momentum_decay": 1.0}),
        "keras": lambda: k.Nadam(RATE, **ADAM, epsilon=LOW),
    },
    "Adamax": {
        "torch": ("Adamax", {"lr": RATE, "betas": BETAS, "eps": 0.0}),
        "optax": lambda: optax.adamax(RATE, *BETAS, eps=0.0),
        "keras": lambda: k.Adamax(RATE, **ADAM, epsilon=0.0),
    },
    "Lamb": {
        "optax": lambda: optax.lamb(RATE, *BETAS, eps=LOW),
        "keras": lambda: k.Lamb(RATE, **ADAM, epsilon=LOW),
    },
    "Lion": {
        "optax": lambda: optax.lion(RATE, *BETAS, weight_decay=0.25),
        "mlx": lambda: m.Lion(RATE, BETAS, weight_decay=0.25),
        "keras": lambda: k.Lion(RATE, **ADAM, weight_decay=0.25),
    },
    "RMSprop": {
        "torch": ("RMSprop", {"lr": RATE, "alpha": 0.75, "eps": LOW}),
        "optax": lambda: optax.rmsprop(RATE, 0.75, LOW, eps_in_sqrt=False),
        "mlx": lambda: m.RMSprop(RATE, 0.75, LOW),
    },
    "RMSprop, epsilon inside": {
        "optax": lambda: optax.rmsprop(RATE, 0.75, LOW, momentum=0.5),
        "keras": lambda: k.RMSprop(RATE, 0.75, momentum=0.5, epsilon=LOW),
    },
    "RMSprop, momentum": {
        "torch": ("RMSprop", {"lr": RATE, "alpha": 0.75, "eps": 0.0, "momentum": 0.5}),
        "optax": lambda: optax.rmsprop(RATE, 0.75, 0.0, momentum=0.5),
        "keras": lambda: k.RMSprop(RATE, 0.75, momentum=0.5, epsilon=0.0),
    },
    "RMSprop, centered": {
        "optax": lambda: optax.rmsprop(RATE, 0.75, 0.125, centered=True),
        "keras": lambda: k.RMSprop(RATE, 0.75, epsilon=0.125, centered=True),
    },
    "Adagrad": {
        "torch": ("Adagrad", {"lr": RATE, "eps": LOW}),
        "mlx": lambda: m.Adagrad(RATE, LOW),
    },
    "Adagrad, no epsilon": {
        "torch": ("Adagrad", {"lr": RATE, "eps": 0.0, "initial_accumulator_value": 0.25}),
        "optax": lambda: optax.adagrad(RATE, 0.25, 0.0),
        "keras": lambda: k.Adagrad(RATE, 0.25, 0.0),
    },
    "Adadelta": {
        "torch": ("Adadelta", {"lr": RATE, "rho": 0.75, "eps": LOW}),
        "optax": lambda: optax.adadelta(RATE, 0.75, LOW),
        "mlx": lambda: m.AdaDelta(RATE, 0.75, LOW),
        "keras": lambda: k.Adadelta(RATE, 0.75, LOW),
    },
    "Adafactor": {  # MLX's relative step is at most 0.01
        "torch": ("Adafactor", {"lr": 0.01, "eps": (0.0, 0.25)}),
        "optax": lambda: optax.chain(
            optax.scale_by_factored_rms(min_dim_size_to_factor=0, epsilon=0.0),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(0.25),
            optax.scale_by_learning_rate(at_most_inverse_sqrt(0.01)),
        ),
        "mlx": lambda: m.Adafactor(eps=(0.0, 0.25)),
    },
    "Adafactor, other rate": {
        "torch": ("Adafactor", {"lr": 0.25, "eps": (0.0, 0.25)}),
        "optax": lambda: optax.chain(
            optax.scale_by_factored_rms(min_dim_size_to_factor=0, epsilon=0.0),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(0.25),
            optax.scale_by_learning_rate(at_most_inverse_sqrt(0.25)),
        ),
        "keras": lambda: k.Adafactor(0.25, epsilon_1=0.0, epsilon_2=0.25),
    },
    "Muon": {
        "mlx": lambda: m.Muon(RATE, 0.75, weight_decay=0.0),
        "keras": lambda: k.Muon(RATE, momentum=0.75, weight_decay=None, rms_rate=None),
    },
}


def shapes_of(family: str) -> dict[str, tuple[int, ...]]:
    """Return shapes that all of a family treat alike."""
    if family == "Muon":
        return MATRICES
    if family.startswith("Adafactor"):  # optax factors the two largest axes, and those are the last ones here
        return {"conv.weight": (2, 3, 4), "dense.bias": (3,), "dense.weight": (3, 5), "gain": ()}
    return SHAPES
