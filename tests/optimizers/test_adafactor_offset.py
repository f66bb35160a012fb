"""Adafactor with an offset of its decay rate: until then each step has a second moment of its own."""

from __future__ import annotations

import numpy as np
from uniopt.conformance.reference import OPTIMIZERS
from uniopt.conformance.reference.leaf import Leaf

import uniopt


def test_the_moments_begin_at_the_offset() -> None:
    rng = np.random.default_rng(5)
    start, stream = rng.standard_normal((3, 4)), list(rng.standard_normal((6, 3, 4)))
    options = {"learning_rate": 0.125, "min_dim_size_to_factor": 2, "decay_offset": 3}
    expected = OPTIMIZERS["adafactor"]([Leaf.of(start)], ([Leaf.of(g)] for g in stream), **options)
    tx = uniopt.adafactor(**options)
    params, state = start, tx.init(start)
    for g, (leaf,) in zip(stream, expected, strict=True):
        updates, state = tx.update(g, state, params)
        params = uniopt.apply_updates(params, updates)
        np.testing.assert_allclose(params.ravel(), leaf.values, rtol=1e-13)


def test_no_step_of_zeros_is_nan() -> None:
    tx = uniopt.adafactor(0.125, decay_offset=3)
    params = np.ones(2)
    state = tx.init(params)
    for _ in range(5):
        updates, state = tx.update(np.zeros(2), state, params)
        np.testing.assert_array_equal(updates, 0.0)
