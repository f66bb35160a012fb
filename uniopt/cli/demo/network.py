"""A network of two layers in array-API code: its loss, and the loss's gradient derived by hand."""

from __future__ import annotations

import numpy as np

from uniopt.backends import Backend
from uniopt.backends.dtypes import compute_dtype, dtype_name
from uniopt.cli.demo.data import CLASSES, PIXELS
from uniopt.typing import Array, Tree

HIDDEN = 64


def initial_parameters(seed: int) -> Tree:
    """Return the weights that every library starts from, as float32 NumPy arrays of variance 1 / inputs."""
    draw = np.random.default_rng([seed, 0])
    return {name: _layer(draw, *sizes) for name, sizes in [("hidden", (PIXELS, HIDDEN)), ("output", (HIDDEN, CLASSES))]}


class Network:
    """The network ``tanh(x W + b) V + c`` with the softmax cross-entropy as its loss, on one library's arrays.

    16-bit parameters are computed with in float32, as uniopt itself does.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.xp = backend.xp

    def logits(self, params: Tree, images: Array) -> Array:
        """Return the ten classes' unnormalised log-probabilities for each image."""
        return self._forward(params, images)[1]

    def loss(self, params: Tree, images: Array, labels: Array) -> Array:
        """Return the mean cross-entropy between the predicted classes and the one-hot labels."""
        log_probabilities = self._log_softmax(self.logits(params, images))
        return -self.xp.sum(labels * log_probabilities) / labels.shape[0]

    def loss_and_gradient(self, params: Tree, images: Array, labels: Array) -> tuple[Array, Tree]:
        r"""Return the loss and its gradient, derived by hand.

        With the hidden layer :math:`h = \tanh(xW + b)`, the logits :math:`z = hV + c`, labels :math:`y` and
        :math:`n` images,

        .. math::

            \delta_z &= (\mathrm{softmax}(z) - y) / n, & \partial_V &= h^T \delta_z, & \partial_c &= 1^T \delta_z \\
            \delta_h &= \delta_z V^T \circ (1 - h^2), & \partial_W &= x^T \delta_h, & \partial_b &= 1^T \delta_h
        """
        xp = self.xp
        hidden, logits = self._forward(params, images)
        log_probabilities = self._log_softmax(logits)
        loss = -xp.sum(labels * log_probabilities) / labels.shape[0]
        delta_logits = (xp.exp(log_probabilities) - labels) / labels.shape[0]
        delta_hidden = (delta_logits @ self._wide(params["output"]["weight"]).T) * (1.0 - hidden * hidden)
        gradient = {
            "hidden": {"weight": images.T @ delta_hidden, "bias": xp.sum(delta_hidden, axis=0)},
            "output": {"weight": hidden.T @ delta_logits, "bias": xp.sum(delta_logits, axis=0)},
        }
        return loss, {
            layer: {name: self.backend.astype(g, params[layer][name].dtype) for name, g in parts.items()}
            for layer, parts in gradient.items()
        }

    def _forward(self, params: Tree, images: Array) -> tuple[Array, Array]:
        hidden = self.xp.tanh(self._affine(params["hidden"], images))
        return hidden, self._affine(params["output"], hidden)

    def _affine(self, layer: Tree, x: Array) -> Array:
        return x @ self._wide(layer["weight"]) + self._wide(layer["bias"])

    def _log_softmax(self, logits: Array) -> Array:
        shifted = logits - self.xp.max(logits, axis=1, keepdims=True)
        return shifted - self.xp.log(self.xp.sum(self.xp.exp(shifted), axis=1, keepdims=True))

    def _wide(self, x: Array) -> Array:
        return self.backend.astype(x, self.backend.dtype(compute_dtype(dtype_name(x.dtype))))


def _layer(draw: np.random.Generator, inputs: int, outputs: int) -> Tree:
    weight = draw.standard_normal((inputs, outputs), dtype=np.float32) / np.float32(np.sqrt(inputs))
    return {"weight": weight, "bias": np.zeros(outputs, dtype=np.float32)}
