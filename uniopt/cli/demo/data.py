"""The handwritten digits that come with scikit-learn, in a fixed split and in seeded mini-batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

PIXELS, CLASSES = 64, 10
BATCH = 128
TRAINING = 11 * BATCH  # of 1,797 images: every batch is full, so a traced step is compiled once

Array = np.ndarray[Any, Any]


class Digits(NamedTuple):
    """Images of 8 x 8 pixels in [0, 1] and their labels, one-hot. Sixteenths: exact in every floating-point dtype."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


def load_digits() -> Digits:
    """Return the 1,797 digits: 1,408 for training, 389 for the test, always the same ones."""
    from sklearn import datasets

    pixels, digits = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(1797).permutation(len(digits))
    images = (pixels[order] / 16).astype(np.float32)
    labels = np.eye(CLASSES, dtype=np.float32)[digits[order]]
    return Digits(images[:TRAINING], labels[:TRAINING], images[TRAINING:], labels[TRAINING:])


def batch_order(epochs: int, seed: int) -> Array:
    """Return the training images' indices by epoch, step and position in the batch; all are used once in each epoch."""
    shuffle = np.random.default_rng([seed, 1])
    return np.stack([shuffle.permutation(TRAINING).reshape(-1, BATCH) for _ in range(epochs)])
