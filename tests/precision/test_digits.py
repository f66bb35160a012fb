"""The demonstration's network reaches float32's loss and accuracy in 16 bits, in each way; plain bfloat16 does not."""

from __future__ import annotations

import numpy as np
import pytest

import uniopt
from tests.conftest import require
from tests.precision.walks import WAYS
from uniopt.cli.demo.data import batch_order, load_digits
from uniopt.cli.demo.network import Network, initial_parameters

TX = uniopt.adam(3e-4)
DIGITS = load_digits()
HALVES = ("bfloat16", "float16")


def trained(name: str, dtype: str, tx: uniopt.GradientTransformation, epochs: int) -> tuple[float, float]:
    """Return the loss over the training images and the accuracy on the test images."""
    backend = require(name)
    network = Network(backend)
    params = uniopt.tree.map(lambda x: backend.from_numpy(x, dtype), initial_parameters(0))
    state, step = tx.init(params), uniopt.compile(tx)
    gradient = backend.compile(network.loss_and_gradient) if name == "jax" else network.loss_and_gradient
    images, labels = (backend.from_numpy(x) for x in (DIGITS.train_images, DIGITS.train_labels))
    for batch in batch_order(epochs, seed=0).reshape(-1, 128):
        data = (backend.from_numpy(x[batch]) for x in (DIGITS.train_images, DIGITS.train_labels))
        _, grads = gradient(params, *data)
        params, state = step(grads, state, params)
    loss = float(backend.to_numpy(network.loss(params, images, labels)))
    logits = backend.to_numpy(network.logits(params, backend.from_numpy(DIGITS.test_images)))
    return loss, float(np.mean(logits.argmax(axis=1) == DIGITS.test_labels.argmax(axis=1)))


@pytest.mark.parametrize(
    ("library", "epochs", "dtypes"), [("numpy", 30, HALVES), ("torch", 30, HALVES), ("jax", 12, HALVES[:1])]
)
def test_digits(library: str, epochs: int, dtypes: tuple[str, ...]) -> None:
    loss, accuracy = trained(library, "float32", TX, epochs)
    plain, _ = trained(library, "bfloat16", TX, epochs)
    assert plain > 1.1 * loss
    for name, way in WAYS.items():
        for dtype in dtypes:
            found, right = trained(library, dtype, way(TX), epochs)
            assert found == pytest.approx(loss, rel=0.002), (name, dtype)
            assert abs(right - accuracy) <= 1.5 / len(DIGITS.test_labels), (name, dtype)
