"""The clipping that Keras gives its optimizers, before all else that they do."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np
import optax
import pytest

from tests.porting.families import RATE
from tests.porting.frameworks import Keras, there_and_back
from tests.porting.runs import Named, error, gradients_of, optax_run, start_of
from tests.porting.test_mlx_and_keras import transposed
from uniopt import porting
from uniopt.errors import PortingError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2

STEPS = 5


@pytest.mark.parametrize("clipping", [{"clipnorm": 0.5}, {"clipvalue": 0.25}, {"global_clipnorm": 0.5}], ids=str)
@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop"])
def test_clipping_goes_with_the_optimizer(name: str, clipping: dict[str, float]) -> None:
    def make() -> Any:
        momentum = {} if name == "AdamW" else {"momentum": 0.5}
        return getattr(keras.optimizers, name)(RATE, weight_decay=0.125, **momentum, **clipping)

    start, stream = start_of("float32"), gradients_of("float32", 3 * STEPS)
    assert there_and_back("keras", make, start, stream, transposed) <= 64


def test_clipping_goes_on_in_optax() -> None:
    start, stream = start_of("float32"), gradients_of("float32", 2 * STEPS)
    run = Keras(lambda: keras.optimizers.SGD(RATE, momentum=0.5, global_clipnorm=0.5), start)
    run.run(stream[:STEPS])
    tx, state = run.ported()
    params = jax.tree.map(jax.numpy.asarray, run.params)
    same = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(RATE, momentum=0.5))
    optimizer, state = porting.to_optax(tx, state, params, same)
    found, _ = optax_run(optimizer, state, params, stream[STEPS:])
    run.run(stream[STEPS:])
    assert error(found, run.params, start) <= 64


def test_norms_of_leaves_that_convert_takes_apart() -> None:
    def stacked(named: Named) -> Any:
        return {"all": np.concatenate([x.ravel() for x in named.values()])}

    for clipping in ({"clipvalue": 0.5}, {"global_clipnorm": 0.5}):
        Keras(lambda clipping=clipping: keras.optimizers.SGD(RATE, **clipping), start_of("float32")).ported(stacked)
    run = Keras(lambda: keras.optimizers.SGD(RATE, clipnorm=0.5), start_of("float32"))
    with pytest.raises(PortingError, match=r"keras\.optimizers\.SGD\.clipnorm depends on the norm of each gradient"):
        run.ported(stacked)
