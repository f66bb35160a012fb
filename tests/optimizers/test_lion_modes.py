"""The modes of `scale_by_lion`: as in optax, on every library, and recorded."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import uniopt
from tests.fusion.walks import assert_same_bits, compiled, copied, eager, gradients, in_torch, normal, odd_tree

MODES: list[dict[str, Any]] = [
    {"mode": "hard"},
    {"mode": "smooth"},
    {"mode": "smooth", "smooth_beta": 3.0, "b1": 0.5},
    {"mode": "refined", "b1": 0.25, "b2": 0.5},
]


@pytest.mark.parametrize("setting", MODES, ids=str)
def test_directions_are_optaxs(setting: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    stream = [rng.standard_normal((4, 3)) * 3.0 for _ in range(20)]
    tx = uniopt.scale_by_lion(**setting)
    state = tx.init(stream[0])
    with jax.enable_x64(True):
        peer = optax.scale_by_lion(**setting)
        theirs = peer.init(jax.numpy.asarray(stream[0]))
        for g in stream:
            found, state = tx.update(g, state)
            expected, theirs = peer.update(jax.numpy.asarray(g), theirs)
            assert expected.dtype == np.float64
            np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-13, atol=1e-15)
            np.testing.assert_allclose(state.mu, np.asarray(theirs.mu), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("setting", MODES, ids=str)
def test_steps_are_recorded(setting: dict[str, Any]) -> None:
    """Warnings are errors here, that of a fallback too."""
    tx = uniopt.chain(uniopt.scale_by_lion(**setting), uniopt.scale(-0.125))
    params, stream = odd_tree(normal("lion", "float32")), gradients("lion", "float32", 4)
    walks = (
        eager(tx, params, stream, 4),
        compiled(tx, copied(params), stream, 4),
        compiled(tx, in_torch(params), [in_torch(g) for g in stream], 4),
    )
    for k, (expected, by_numpy, by_torch) in enumerate(zip(*walks, strict=True), 1):
        assert_same_bits(by_numpy, expected, f"NumPy, step {k}")
        assert_same_bits(by_torch, expected, f"torch, step {k}")


def test_another_mode_is_an_error() -> None:
    with pytest.raises(
        uniopt.errors.HyperparameterError, match="mode is 'soft', expected one of hard, smooth, refined"
    ):
        uniopt.scale_by_lion(mode="soft")
