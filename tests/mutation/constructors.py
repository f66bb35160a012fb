"""The constructors of keras and mlx: their defaults, and switches that the runs beside the libraries do not turn."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import mlx.optimizers
import numpy as np
import pytest
from uniopt.conformance.peers.keras import host

import uniopt
from tests.dialects import keras_runs, mlx_runs
from uniopt import dialects, tree
from uniopt.dialects.keras import base
from uniopt.errors import HyperparameterError

LIBRARIES = {
    "keras": (dialects.keras, keras.optimizers, keras_runs.SETTINGS),
    "mlx": (dialects.mlx, mlx.optimizers, mlx_runs.SETTINGS),
}


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for library, (_, _, settings) in LIBRARIES.items():
        for name in settings:
            yield f"parameters of {library}'s {name}", partial(parameters_are_theirs, library, name)
    for check in (
        keras_factors_the_last_two_axes,
        keras_gives_a_rule_what_all_have,
        keras_has_features_for_all,
        keras_looks_ahead_or_not,
        keras_takes_arrays_for_momenta,
        keras_takes_what_is_no_matrix_by_adam,
        mlx_needs_a_rate_that_is_not_relative,
    ):
        yield check.__name__, check


def parameters_are_theirs(library: str, name: str) -> None:
    own, theirs = (
        {
            key: tuple(p.default) if isinstance(p.default, list) else p.default
            for key, p in inspect.signature(getattr(module, name)).parameters.items()
        }
        for module in LIBRARIES[library][:2]
    )
    shared = [key for key in theirs if key in own]
    assert {key: own[key] for key in shared} == {key: theirs[key] for key in shared}
    assert len(shared) >= len(theirs) - 2  # keras's have a name and further arguments of the base class
    getattr(LIBRARIES[library][0], name)(learning_rate=0.5)  # a fault is looked for by what calls the constructor


def keras_factors_the_last_two_axes() -> None:
    rng = np.random.default_rng(0)
    start, gradient = (rng.standard_normal((8, 3, 2)).astype(np.float32) for _ in range(2))
    tx, peer = dialects.keras.Adafactor(), keras.optimizers.Adafactor()
    variable = keras.Variable(start)
    peer.build([variable])
    peer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    updates, _ = tx.update(gradient, tx.init(start), start)
    assert np.allclose(start + updates, host(variable), rtol=1e-5, atol=0)


def keras_gives_a_rule_what_all_have() -> None:
    """The decorator has done so when the module was imported; here it does it again."""

    def rule(learning_rate: float = 0.01, momentum: float = 0.0, *, nesterov: bool = False) -> object:
        return uniopt.sgd(learning_rate, momentum, nesterov)

    def with_decay(learning_rate: float = 0.5, weight_decay: float = 0.5, *, decayed: Any = None) -> object:
        return decayed(uniopt.sgd(learning_rate), 2 * weight_decay)

    made, theirs = inspect.signature(base.optimizer(rule)), inspect.signature(keras.optimizers.SGD)
    of_all = [
        p for name, p in theirs.parameters.items() if name not in ("learning_rate", "momentum", "nesterov", "kwargs")
    ]
    names = ["learning_rate", "momentum", *(p.name for p in of_all), "nesterov", "weight_decay_mask"]
    assert list(made.parameters) == names
    assert {p.name: made.parameters[p.name].default for p in of_all} == {p.name: p.default for p in of_all} | {
        "name": None
    }
    assert made.parameters["nesterov"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert made.return_annotation == "GradientTransformation"
    assert list(inspect.signature(base.optimizer(with_decay)).parameters)[:3] == [
        "learning_rate",
        "weight_decay",
        "clipnorm",
    ]
    assert "MultiSteps" not in repr(base.optimizer(rule)())
    params = np.full(1, 2.0)
    for function, given, expected in ((rule, {"weight_decay": 0.5}, -0.02), (with_decay, {}, -1.5), (rule, {}, -0.01)):
        tx = base.optimizer(function)(**given)
        assert np.allclose(tx.update(np.ones(1), tx.init(params), params)[0], expected)


def keras_has_features_for_all() -> None:
    g, params = {"yes": np.ones(1), "no": np.ones(1)}, {"yes": np.full(1, 2.0), "no": np.full(1, 2.0)}

    def moved(**features: object) -> tuple[float, float]:
        tx = dialects.keras.SGD(0.5, **features)
        updates, _ = tx.update(g, tx.init(params), params)
        return updates["yes"].item(), updates["no"].item()

    assert moved() == moved(clipnorm=0.0) == moved(clipnorm=-1.0) == (-0.5, -0.5)
    assert moved(loss_scale_factor=4.0) == (-0.125, -0.125)
    assert moved(weight_decay=0.5, weight_decay_mask={"yes": True, "no": False}) == (-1.0, -0.5)


def keras_looks_ahead_or_not() -> None:
    """Two steps of an embedding, which Muon takes if it is asked to; looking ahead changes the second one."""
    g, nothing = np.asarray([[1.0, 2.0], [3.0, -1.0]]), np.zeros((2, 2))

    def second(*, nesterov: bool, exclude_embeddings: bool) -> np.ndarray:
        tx = dialects.keras.Muon(nesterov=nesterov, exclude_embeddings=exclude_embeddings)
        params = {"embedding": nothing}
        _, state = tx.update({"embedding": g}, tx.init(params), params)
        found: np.ndarray = tx.update({"embedding": -0.5 * g.T}, state, params)[0]["embedding"]
        return found

    paths = {(a, b): second(nesterov=a, exclude_embeddings=b) for a in (False, True) for b in (False, True)}
    assert np.array_equal(paths[False, True], paths[True, True])  # by Adam
    assert not np.allclose(paths[False, False], paths[True, False], rtol=1e-2)
    assert not np.allclose(paths[False, False], paths[False, True], rtol=1e-2)


def keras_takes_arrays_for_momenta() -> None:
    """A number of 0 means none at all; the other parameters say nothing about that."""
    one = np.ones(1)
    for make in (
        partial(dialects.keras.RMSprop, rho=0.0),
        partial(dialects.keras.RMSprop, epsilon=0.0),
        partial(dialects.keras.SGD, learning_rate=0.0),
    ):
        tx = make(momentum=0.5)
        assert any(x.shape == (1,) and x.dtype == np.float64 for x in tree.leaves(tx.init(one)))
        assert "trace" in repr(tx)
    for make in (dialects.keras.SGD, dialects.keras.RMSprop):
        assert "trace" in repr(make(0.5, momentum=np.asarray(0.0)))
    assert "trace" not in repr(dialects.keras.SGD(0.5, momentum=0.0))
    assert "trace" not in repr(dialects.keras.RMSprop(0.5, momentum=0.0))


def keras_takes_what_is_no_matrix_by_adam() -> None:
    tx = dialects.keras.Muon()
    for shape in ((3,), (), (2, 2, 2)):
        p = np.ones(shape)
        assert np.allclose(np.abs(tx.update(p, tx.init(p), p)[0]), 1e-3, rtol=1e-2)
    p = {"there": np.ones((2, 2)), "absent": None}
    assert tx.update(p, tx.init(p), p)[0]["absent"] is None


def mlx_needs_a_rate_that_is_not_relative() -> None:
    with pytest.raises(HyperparameterError, match="relative_step=False"):
        dialects.mlx.Adafactor(relative_step=False, weight_decay=0.5)
