"""The demonstration's network: its hand-derived gradient is the gradient, and its data are what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

import uniopt
from uniopt import tree
from uniopt.cli.demo import libraries
from uniopt.cli.demo.data import batch_order, load_digits
from uniopt.cli.demo.network import Network, initial_parameters
from uniopt.cli.present import find_device


@pytest.mark.parametrize("name", ["torch", "jax", "mlx"])
def test_hand_derived_gradient_is_that_of_the_librarys_autodiff(name: str) -> None:
    backend = uniopt.backends.get(name)
    network = Network(backend)
    digits = load_digits()
    with libraries.ready(backend, find_device(backend, "cpu"), "float64"):
        images, labels = (backend.from_numpy(x[:100], "float64") for x in (digits.train_images, digits.train_labels))
        params = tree.map(lambda x: backend.from_numpy(x + 0.01, "float64"), initial_parameters(0))
        assert backend.value_and_grad is not None
        loss, automatic = backend.value_and_grad(network.loss)(params, images, labels)
        expected, by_hand = network.loss_and_gradient(params, images, labels)
        assert float(loss) == pytest.approx(float(expected), rel=1e-14)
        for x, y in zip(tree.leaves(automatic), tree.leaves(by_hand), strict=True):
            x, y = backend.to_numpy(x), backend.to_numpy(y)  # noqa: PLW2901
            assert x.dtype == y.dtype == np.float64
            assert np.max(np.abs(x - y)) <= 1e-12 * np.max(np.abs(y))


def test_jax_is_left_as_it_was_found() -> None:
    import jax

    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    assert before == (False, None)  # by the other tests, too
    backend = uniopt.backends.get("jax")
    with libraries.ready(backend, find_device(backend, None), "float64"):
        assert jax.config.jax_enable_x64
        assert jax.config.jax_default_matmul_precision == "highest"
    assert (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision) == before


def test_digits_are_all_there_once_and_exact_in_16_bits() -> None:
    from sklearn import datasets

    digits = load_digits()
    images = np.concatenate([digits.train_images, digits.test_images])
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    pixels, targets = datasets.load_digits(return_X_y=True)
    assert sorted(map(tuple, np.column_stack([images * 16, labels.argmax(axis=1)]))) == sorted(
        map(tuple, np.column_stack([pixels, targets]))
    )
    assert np.array_equal(images.astype(np.float16), images)
    assert np.array_equal(labels.sum(axis=1), np.ones(1797))


def test_every_epoch_uses_every_training_image_once_in_an_order_of_its_own() -> None:
    order = batch_order(3, seed=0)
    assert order.shape == (3, 11, 128)
    for epoch in order:
        assert np.array_equal(np.sort(epoch.ravel()), np.arange(1408))
    assert not np.array_equal(order[0], order[1])
    assert np.array_equal(order, batch_order(3, seed=0))
    assert not np.array_equal(order, batch_order(3, seed=1))
