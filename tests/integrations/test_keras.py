"""The Keras optimizer beside Keras's own, on the digits, on the backend that Keras runs on here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import mlx.core as mx
import numpy as np
import pytest

import uniopt
from tests.integrations.digits import images_and_labels
from uniopt.dialects import keras as dialect
from uniopt.errors import HyperparameterError, MixedLibrariesError
from uniopt.integrations.keras import Optimizer

# Keras itself makes NumPy warn.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

X, Y = images_and_labels()


def classifier(names: tuple[str, str]) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(32, "tanh", name=names[0]), keras.layers.Dense(10, name=names[1])]
    return keras.Sequential([keras.Input((64,)), *layers])


def compiled(optimizer: Any, names: tuple[str, str] = ("hidden", "out")) -> Any:
    model = classifier(names)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(model: Any, epochs: int = 2, **options: Any) -> list[float]:
    history = model.fit(X, Y, batch_size=128, epochs=epochs, verbose=0, shuffle=False, **options)
    return [float(value) for value in history.history["loss"]]


def host(variables: list[Any]) -> list[Any]:
    return [np.array(keras.ops.convert_to_numpy(x.value)) for x in variables]


def assert_same(found: list[Any], expected: list[Any], rtol: float = 0.0) -> None:
    for x, y in zip(host(found), host(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=rtol * max(np.abs(y).max(), 1e-3))


PAIRS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda m: m.SGD(0.25, momentum=0.75, nesterov=True),
    "Adam": lambda m: m.Adam(0.01, amsgrad=True, weight_decay=0.25),
    "RMSprop": lambda m: m.RMSprop(0.01, momentum=0.5, centered=True),
    "Lamb": lambda m: m.Lamb(0.01, global_clipnorm=0.5),
}


@pytest.mark.parametrize("name", PAIRS)
def test_fits_as_the_optimizer_of_keras(name: str) -> None:
    ours, theirs = compiled(Optimizer(PAIRS[name](dialect))), compiled(PAIRS[name](keras.optimizers))
    np.testing.assert_allclose(fit(ours), fit(theirs), rtol=2e-5)
    assert_same(ours.weights, theirs.weights, 1e-4)  # keras takes 1 - b**t in float32
    assert int(ours.optimizer.iterations) == 8


def halved(epoch: int, rate: float) -> float:
    return rate / 2


CALLBACKS: dict[str, Callable[[], Any]] = {
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(halved),
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10.0),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_set_the_learning_rate(name: str) -> None:
    models = [compiled(make(0.1)) for make in (lambda rate: Optimizer(uniopt.sgd(rate)), keras.optimizers.SGD)]
    losses = [fit(model, 3, callbacks=[CALLBACKS[name]()]) for model in models]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    rates = [float(model.optimizer.learning_rate) for model in models]
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)
    assert rates[0] < 0.05


def test_schedules() -> None:
    steps = 8
    ours = compiled(Optimizer(uniopt.sgd(uniopt.cosine_decay_schedule(0.5, steps))))
    theirs = compiled(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, steps)))
    np.testing.assert_allclose(fit(ours, 1), fit(theirs, 1), rtol=1e-5)
    assert float(ours.optimizer.learning_rate) == pytest.approx(0.25, rel=1e-6)
    with pytest.raises(HyperparameterError, match="follows a schedule"):
        ours.optimizer.learning_rate = 0.1
    for rate in (keras.optimizers.schedules.CosineDecay(0.5, 10), "0.1", -0.1, np.ones(2)):
        with pytest.raises(HyperparameterError, match="expected a number"):
            Optimizer(uniopt.sgd(0.1)).learning_rate = rate
    optimizer = Optimizer(uniopt.sgd(0.1))
    for rate in (0.5, np.float32(0.5), keras.Variable(0.5), keras.ops.convert_to_tensor(0.5)):
        optimizer.learning_rate = rate
        assert float(optimizer.learning_rate) == 0.5


SAVED: dict[str, Callable[[], Any]] = {
    "adamw": lambda: uniopt.adamw(uniopt.cosine_decay_schedule(0.02, 20), mask=uniopt.weight_decay_mask),
    "a rate": lambda: uniopt.chain(uniopt.clip_by_global_norm(0.5), uniopt.lion(0.002)),
    "muon": lambda: uniopt.muon(0.01),
    "groups": lambda: uniopt.partition(
        {"a": uniopt.adam(0.01), "b": uniopt.MultiSteps(uniopt.sgd(0.1, momentum=0.5), 2)},
        uniopt.path_labels({"*/kernel": "a", "*/bias": "b"}),
    ),
    "accumulated": lambda: uniopt.MultiSteps(uniopt.adam(0.01), 2),
    "injected": lambda: uniopt.inject_hyperparams(uniopt.adam)(learning_rate=0.01, b1=0.5),
    "dialect": lambda: dialect.Nadam(0.01, weight_decay=0.1, use_ema=True),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_model_is_saved_with_its_optimizer(name: str, tmp_path: Path) -> None:
    """Two epochs, and one and one after loading in between, are the same to the bit."""
    whole, first = compiled(Optimizer(SAVED[name]())), compiled(Optimizer(SAVED[name]()))
    fit(whole, 2)
    fit(first, 1)
    first.save(tmp_path / "model.keras")
    second = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(second.optimizer, Optimizer)
    assert second.optimizer.get_config() == first.optimizer.get_config()
    assert_same(second.optimizer.variables, first.optimizer.variables)
    fit(second, 1)
    assert_same(second.weights, whole.weights)
    assert_same(second.optimizer.variables, whole.optimizer.variables)


def test_weights_alone_are_saved_with_the_state(tmp_path: Path) -> None:
    """The second model's layers have other names, in whose order 10 comes before 9."""
    first = compiled(Optimizer(uniopt.adam(0.01)))
    second = compiled(Optimizer(uniopt.adam(0.01)), ("layer_9", "layer_10"))
    fit(first, 1)
    first.save_weights(tmp_path / "run.weights.h5")
    second.optimizer.build(second.trainable_variables)
    second.load_weights(tmp_path / "run.weights.h5")
    assert_same(second.optimizer.variables, first.optimizer.variables)


def test_the_configuration_is_text_and_numbers() -> None:
    optimizer = Optimizer(uniopt.adamw(0.5, mask=uniopt.weight_decay_mask), name="descent")
    optimizer.learning_rate = 0.25
    config = json.loads(json.dumps(optimizer.get_config()))
    again = Optimizer.from_config(config)
    assert (again.name, float(again.learning_rate)) == ("descent", 0.25)
    assert again.get_config() == config
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == config


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('file', 'w')",
        "chain(scale(2.0)).init.func.__globals__",
        "stateless(print)",
        "tree_get",
        "scale(2.0) + scale(3.0)",
        "chain(*[scale(1.0)])",
        "(lambda: scale(1.0))()",
        "apply_updates(1.0, 1.0)",
        "adam(",
    ],
)
def test_nothing_but_constructors_is_read(text: str) -> None:
    with pytest.raises(HyperparameterError):
        Optimizer.from_config({"name": "descent", "tx": text})


def test_functions_that_are_not_uniopts() -> None:
    """A subclass says what they are."""
    tx = uniopt.masked(uniopt.sgd(0.1), lambda params: uniopt.tree.map(lambda p: True, params))
    with pytest.raises(HyperparameterError, match="subclass of the optimizer"):
        Optimizer(tx).get_config()

    @keras.saving.register_keras_serializable(package="tests")
    class Own(Optimizer):
        def __init__(self, name: str | None = None) -> None:
            super().__init__(tx, name)

        def get_config(self) -> dict[str, Any]:
            return {"name": self.name}

    assert type(keras.optimizers.deserialize(keras.optimizers.serialize(Own()))) is Own


def test_missing_gradients() -> None:
    optimizer = Optimizer(uniopt.sgd(0.25, momentum=0.5))
    variables = [keras.Variable(np.ones(2, np.float32), name=name) for name in ("a", "a", "c")]
    ones = keras.ops.ones(2)
    with pytest.warns(UserWarning, match="Gradients do not exist for variables .'a'"):
        optimizer.apply([None, ones, ones], variables)
    optimizer.apply([ones, ones, ones], variables)
    assert [x.tolist() for x in host(variables)] == [[0.75] * 2, [0.375] * 2, [0.375] * 2]


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_sixteen_bits(dtype: str) -> None:
    keras.config.set_dtype_policy(dtype)
    try:
        model = compiled(Optimizer(uniopt.adam(0.01)))
        losses = fit(model, 3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert losses[-1] < losses[0]
    state = {x.path.rpartition("/")[2]: x.dtype for x in model.optimizer.variables}
    assert {x for name, x in state.items() if "mu" in name} == {"float32"}


def test_several_learning_rates_and_none() -> None:
    for tx, words in (
        (uniopt.chain(uniopt.sgd(0.5), uniopt.sgd(0.25)), "are 0.5, 0.25; expected one"),
        (uniopt.scale(-0.1), "are none; expected one"),
    ):
        model = compiled(Optimizer(tx))
        fit(model, 1)
        with pytest.raises(HyperparameterError, match=words):
            float(model.optimizer.learning_rate)
        with pytest.raises(HyperparameterError, match=words):
            model.optimizer.learning_rate = 0.1


def test_foreign_objects() -> None:
    with pytest.raises(HyperparameterError, match=r"keras's own optimizer Adam, .* uniopt.dialects.keras.Adam\(...\)"):
        Optimizer(keras.optimizers.Adam(1e-3))
    with pytest.raises(MixedLibrariesError, match=r"is an array of mlx .*uniopt.integrations.mlx.Optimizer takes them"):
        Optimizer(uniopt.sgd(0.1)).apply([mx.ones(2)], [keras.Variable(np.ones(2, np.float32), name="w")])
