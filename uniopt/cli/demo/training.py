"""The training loop: one text for every library."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import uniopt
from uniopt import tree
from uniopt.backends import Backend
from uniopt.backends.device_names import device_name
from uniopt.backends.dtypes import compute_dtype
from uniopt.cli.demo import libraries
from uniopt.cli.demo.comparison import Difference, gradient_difference
from uniopt.cli.demo.data import Digits, batch_order
from uniopt.cli.demo.network import Network, initial_parameters
from uniopt.cli.demo.settings import Settings
from uniopt.typing import Array, Tree

# Two ways to sum over a batch of images round differently; a wrong formula is off by 1e5 ulp and more.
GRADIENT_LIMIT = 1024


@dataclass(frozen=True)
class Run:
    """What one library made of the training."""

    library: str
    version: str
    device: str
    gradient: str  # "autodiff" or "by hand"
    execution: str
    gradient_check: Difference | None  # autodiff against the hand-derived gradient, where there are both
    step_losses: list[list[float]]  # by epoch and step: the mini-batch's, before the step
    parameters: list[list[Any]]  # after each epoch: the leaves, as NumPy arrays
    final_loss: float  # over all training images, after the last step
    test_accuracy: float
    seconds: float


class Trainer:
    """Trains the network on one library's arrays, with the optimizer that the settings name."""

    def __init__(self, backend: Backend, device: Any, settings: Settings) -> None:
        self.backend = backend
        self.device = device
        self.settings = settings
        self.network = Network(backend)
        self.optimizer = settings.transformation()
        autodiff = backend.value_and_grad
        self.gradient = "by hand" if autodiff is None else "autodiff"
        self.loss_and_gradient = self.network.loss_and_gradient if autodiff is None else autodiff(self.network.loss)

    def train(self, digits: Digits, report: Callable[[int, float], None]) -> Run:
        """Train, calling ``report(epoch, loss)`` after each epoch with the mean loss of its steps."""
        backend, settings = self.backend, self.settings
        with libraries.ready(backend, self.device, settings.dtype):
            order = batch_order(settings.epochs, settings.seed)
            start = initial_parameters(settings.seed)
            check = self._compare_gradients(start, digits, order[0, 0])
            step = libraries.compiled(backend, self._step)
            losses, parameters = [], []
            began = time.perf_counter()
            params = tree.map(lambda x: backend.from_numpy(x, settings.dtype, self.device), start)
            state = self.optimizer.init(params)
            for epoch, batches in enumerate(order):
                pending = []
                for batch in batches:
                    images, labels = self._data(digits.train_images[batch]), self._data(digits.train_labels[batch])
                    params, state, loss = libraries.computed(backend, step(params, state, images, labels))
                    pending.append(loss)
                losses.append([float(backend.to_numpy(loss)) for loss in pending])
                parameters.append([backend.to_numpy(leaf) for leaf in tree.leaves(params)])
                report(epoch + 1, float(np.mean(losses[-1])))
            seconds = time.perf_counter() - began
            final_loss = self.network.loss(params, self._data(digits.train_images), self._data(digits.train_labels))
            logits = backend.to_numpy(self.network.logits(params, self._data(digits.test_images)))
            return Run(
                library=backend.name,
                version=backend.version(),
                device=device_name(self.device),
                gradient=self.gradient,
                execution=libraries.execution(backend),
                gradient_check=check,
                step_losses=losses,
                parameters=parameters,
                final_loss=float(backend.to_numpy(final_loss)),
                test_accuracy=float(np.mean(logits.argmax(axis=1) == digits.test_labels.argmax(axis=1))),
                seconds=seconds,
            )

    def _step(self, params: Tree, state: Tree, images: Array, labels: Array) -> tuple[Tree, Tree, Array]:
        loss, grads = self.loss_and_gradient(params, images, labels)
        updates, state = self.optimizer.update(grads, state, params, value=loss)
        return uniopt.apply_updates(params, updates), state, loss

    def _data(self, x: Any) -> Array:
        return self.backend.from_numpy(x, compute_dtype(self.settings.dtype), self.device)

    def _compare_gradients(self, start: Tree, digits: Digits, batch: Any) -> Difference | None:
        """Return how far the library's autodiff is from the hand-derived gradient, or None where it has no autodiff."""
        if self.gradient == "by hand":
            return None
        params = tree.map(lambda x: self.backend.from_numpy(x, self.settings.dtype, self.device), start)
        data = self._data(digits.train_images[batch]), self._data(digits.train_labels[batch])
        automatic, by_hand = (
            [self.backend.to_numpy(leaf) for leaf in tree.leaves(gradient)]
            for _, gradient in (self.loss_and_gradient(params, *data), self.network.loss_and_gradient(params, *data))
        )
        return gradient_difference(automatic, by_hand, self.settings.dtype)
