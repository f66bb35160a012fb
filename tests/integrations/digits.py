"""The digits of scikit-learn, as all integrations train on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits


def images_and_labels(count: int = 512) -> tuple[Any, Any]:
    """Return some images, as vectors of numbers up to 1, and what they show."""
    images, labels = load_digits(return_X_y=True)
    return np.asarray(images[:count] / 16, np.float32), np.asarray(labels[:count], np.int32)


def start(seed: int = 0) -> dict[str, Any]:
    """Return the first parameters of a classifier with one hidden layer."""
    rng = np.random.default_rng(seed)
    layers = {"hidden": (64, 32), "out": (32, 10)}
    return {
        name: {
            "kernel": (rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32),
            "bias": np.zeros(shape[1], np.float32),
        }
        for name, shape in layers.items()
    }
