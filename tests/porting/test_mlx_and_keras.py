"""Ten steps of one framework's optimizer, and ten of another's or of uniopt, where one of the two is MLX or Keras."""

from __future__ import annotations

from typing import Any

import keras
import mlx.core as mx
import mlx.optimizers
import numpy as np
import pytest

import uniopt
from tests.conftest import float64
from tests.porting.families import FAMILIES, RATE, shapes_of
from tests.porting.frameworks import SIDES, Keras, Mlx
from tests.porting.runs import error, gradients_of, start_of, uniopt_run
from uniopt import porting
from uniopt.errors import PortingError

# Keras itself makes NumPy warn.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = 10
PAIRS = [
    (family, source, target)
    for family, calls in FAMILIES.items()
    for source in calls
    for target in calls
    if {source, target} & {"mlx", "keras"}
]

IN_FLOAT32 = {
    "mlx": {"Adam", "Adam, epsilon", "AdamW", "Adafactor", "Muon"},  # 1 - b**t, the decay rate, the coefficients
    "keras": {"Adafactor, other rate", "Muon"},
    "optax": {"Adafactor", "Adafactor, other rate"},
}
"""What the frameworks compute in float32 for float64 parameters."""


def bound(family: str, frameworks: set[str], dtype: str) -> float:
    """Return by how many units in the last place two runs may differ."""
    if dtype == "float64" and any(family in IN_FLOAT32.get(x, ()) for x in frameworks):
        return 1e9
    return {"float32": 8.0, "float64": 64.0}[dtype]


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.wide), "float64"])
@pytest.mark.parametrize(("family", "source", "target"), PAIRS)
def test_the_same_run_in_another_framework(family: str, source: str, target: str, dtype: str) -> None:
    calls, shapes = FAMILIES[family], shapes_of(family)
    start, stream = start_of(dtype, shapes), gradients_of(dtype, 2 * STEPS, shapes)
    with float64("jax"):
        whole, begun = SIDES[source](calls[source], start), SIDES[source](calls[source], start)
        whole.run(stream)
        begun.run(stream[:STEPS])
        tx, state = begun.ported()
        other = SIDES[target](calls[target], begun.params)
        other.load(tx, state)
        other.run(stream[STEPS:])
        found, _ = uniopt_run(tx, state, begun.params, stream[STEPS:], "numpy")
        assert error(found, whole.params, start) <= bound(family, {source}, dtype)
        assert error(other.params, whole.params, start) <= bound(family, {source, target}, dtype)


def transposed(named: Any) -> Any:
    """Return a nested tree with the axes of matrices turned round."""
    return {name: {"kernel": x.T if x.ndim == 2 else x} for name, x in named.items()}


@pytest.mark.parametrize("library", ["jax", "torch"])
@pytest.mark.parametrize(
    ("family", "side"),
    [("momentum", "keras"), ("RMSprop, momentum", "keras"), ("Adafactor, other rate", "keras"), ("Adafactor", "mlx")],
)
def test_axes_turned_round(family: str, side: str, library: str) -> None:
    """There and back, on another library's arrays in between."""
    shapes = shapes_of(family)
    start, stream = start_of("float64", shapes), gradients_of("float64", 3 * STEPS, shapes)
    make = FAMILIES[family][side]
    whole, begun = SIDES[side](make, start), SIDES[side](make, start)
    whole.run(stream)
    begun.run(stream[:STEPS])
    with float64(library):
        tx, state = begun.ported(transposed)
        state = uniopt.tree.map(uniopt.backends.get(library).from_numpy, state)
        later = [transposed(g) for g in stream[STEPS : 2 * STEPS]]
        params, state = uniopt_run(tx, state, transposed(begun.params), later, library)
        reached = {name: x["kernel"].T.copy() if x["kernel"].ndim == 2 else x["kernel"] for name, x in params.items()}
        back = SIDES[side](make, reached)
        back.load(tx, state, transposed)
    back.run(stream[2 * STEPS :])
    assert error(back.params, whole.params, start) <= 2 * bound(family, {side}, "float64")


def test_from_torch_to_keras_with_transposed_kernels() -> None:
    """torch has outputs first, Keras has them last: each direction has its own function."""
    shapes = {"dense.bias": (3,), "dense.weight": (3, 5)}
    start, stream = start_of("float64", shapes), gradients_of("float64", 2 * STEPS, shapes)

    def to_keras(named: Any) -> Any:
        return {"bias": named["dense.bias"], "kernel": named["dense.weight"].T}

    whole, begun = (SIDES["torch"](("Adagrad", {"lr": RATE, "eps": 0.0}), start) for _ in range(2))
    whole.run(stream)
    begun.run(stream[:STEPS])
    tx, state = begun.ported(to_keras)
    other = Keras(keras.optimizers.Adagrad, {name: x.copy() for name, x in to_keras(begun.params).items()})
    other.load(tx, state)
    other.run([to_keras(g) for g in stream[STEPS:]])
    assert error(other.params, to_keras(whole.params), to_keras(start)) <= 64


def falling() -> Any:
    return uniopt.exponential_decay(0.25, transition_steps=4, decay_rate=0.5)


SCHEDULED = {
    "mlx": lambda: mlx.optimizers.SGD(mlx.optimizers.exponential_decay(0.25, 0.5**0.25), momentum=0.75),
    "keras": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.ExponentialDecay(0.25, decay_steps=4, decay_rate=0.5), momentum=0.75
    ),
}


def _rate(side: Any) -> float:
    return float(side.optimizer.learning_rate)


@pytest.mark.parametrize("side", SCHEDULED)
def test_schedules(side: str) -> None:
    start, stream = start_of("float32"), gradients_of("float32", 2 * STEPS)
    whole, begun, back = (SIDES[side](SCHEDULED[side], start) for _ in range(3))
    whole.run(stream)
    begun.run(stream[:STEPS])
    with pytest.raises(PortingError, match="schedule="):
        begun.ported()
    port = porting.from_mlx if side == "mlx" else porting.from_keras
    given = (begun.optimizer, begun.params_of_framework) if side == "mlx" else (begun.optimizer,)
    with pytest.raises(PortingError, match="a schedule with the same values"):
        port(*given, to="numpy", schedule=uniopt.linear_schedule(0.25, 0.0, 100))
    tx, state = port(*given, to="numpy", schedule=falling())
    found, _ = uniopt_run(tx, state, begun.params, stream[STEPS:], "numpy")
    assert error(found, whole.params, start) <= 32  # the frameworks' powers are in float32
    back = SIDES[side](SCHEDULED[side], begun.params)
    back.load(tx, state)
    assert _rate(back) == _rate(begun)
    back.run(stream[STEPS:])
    assert error(back.params, whole.params, start) == 0
    plain = SIDES[side](FAMILIES["momentum"][side], begun.params)
    with pytest.raises(PortingError, match=r"has a number|and momentum"):
        plain.load(tx, state)


def test_a_momentum_with_a_schedule_inside_goes_nowhere_else() -> None:
    begun = Keras(SCHEDULED["keras"], start_of("float32"))
    begun.run(gradients_of("float32", 3))
    tx, state = porting.from_keras(begun.optimizer, "numpy", schedule=falling())
    other = SIDES["torch"](FAMILIES["momentum"]["torch"], begun.params)
    with pytest.raises(PortingError, match="scale_by_schedule and trace"):
        other.load(tx, state)


def test_decay_that_leaves_some_out() -> None:
    def make() -> Any:
        optimizer = keras.optimizers.Adam(RATE, weight_decay=0.25)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gain"])
        return optimizer

    start, stream = start_of("float32"), gradients_of("float32", 2 * STEPS)
    whole, begun = Keras(make, start), Keras(make, start)
    whole.run(stream)
    begun.run(stream[:STEPS])
    tx, state = begun.ported()
    found, _ = uniopt_run(tx, state, begun.params, stream[STEPS:], "numpy")
    assert error(found, whole.params, start) <= 64  # 1 - 0.999**t in float32
    back = Keras(make, begun.params)
    back.load(tx, state)
    back.run(stream[STEPS:])
    assert error(back.params, whole.params, start) == 0
    with pytest.raises(PortingError, match="decoupled_decay"):
        Keras(lambda: keras.optimizers.Adam(RATE), begun.params).load(tx, state)


def loaded(side: Any, make: Any, tx: Any) -> None:
    """Load what a transformation has come to after a step."""
    params = start_of("float32", {"b": (3,), "w": (3, 4)})
    _, state = tx.update(params, tx.init(params), params)
    side(make, params).load(tx, state)


REFUSED: dict[str, tuple[Any, Any, Any, str]] = {
    "another rule": (Mlx, lambda: mlx.optimizers.Lion(0.1), uniopt.adam(0.1), "Lion computes scale_by_lion"),
    "epsilon": (Keras, keras.optimizers.Adam, uniopt.adam(0.1), "eps_before_correction is True, not False"),
    "bias": (
        Mlx,
        lambda: mlx.optimizers.Adamax(0.1),
        uniopt.adamax(0.1),
        "bias_correction is False, not True",
    ),
    "decay": (
        Mlx,
        lambda: mlx.optimizers.SGD(0.1, 0.5),
        uniopt.chain(uniopt.trace(0.5), uniopt.add_decayed_weights(0.1), uniopt.scale(-0.1)),
        "decoupled_decay is 0.0, not 0.1",
    ),
    "AMSGrad": (
        Keras,
        lambda: keras.optimizers.Adam(amsgrad=True),
        uniopt.amsgrad(0.1, eps=0.0),
        "bias_correction_nu",
    ),
    "variables": (Keras, keras.optimizers.Adam, uniopt.dialects.keras.Adam(0.1, amsgrad=True), "amsgrad=True"),
    "momentum": (Keras, keras.optimizers.SGD, uniopt.sgd(0.1, momentum=0.5), "momentum=0.5"),
    "groups": (
        Mlx,
        lambda: mlx.optimizers.Adam(0.1),
        uniopt.partition({"a": uniopt.adam(0.1), "b": uniopt.adam(0.2)}, {"b": "a", "w": "b"}),
        "differ in learning_rate",
    ),
    "clipping": (Mlx, lambda: mlx.optimizers.SGD(0.1), uniopt.chain(uniopt.clip(1.0), uniopt.sgd(0.1)), "clip"),
    "another optimizer": (
        Mlx,
        lambda: mlx.optimizers.MultiOptimizer([mlx.optimizers.Adam(0.1)]),
        uniopt.adam(0.1),
        "MultiOptimizer",
    ),
    "features": (Keras, lambda: keras.optimizers.SGD(use_ema=True), uniopt.sgd(0.1), "has use_ema"),
    "other clipping": (
        Keras,
        lambda: keras.optimizers.SGD(clipnorm=1.0),
        uniopt.chain(uniopt.clip_by_block_norm(2.0), uniopt.sgd(0.1)),
        r"clip_by_block_norm.max_norm is 1\.0, not 2\.0",
    ),
    "no clipping": (Keras, lambda: keras.optimizers.SGD(clipnorm=1.0), uniopt.sgd(0.1), "by clip_by_block_norm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    side, make, tx, words = REFUSED[name]
    with pytest.raises(PortingError, match=words):
        loaded(side, make, tx)


@pytest.mark.parametrize(
    ("side", "make"),
    [
        (Mlx, lambda: mlx.optimizers.Adam(0.1, bias_correction=True)),
        (Keras, lambda: keras.optimizers.Adam(0.1, epsilon=0.0)),
    ],
)
def test_counts_that_differ(side: Any, make: Any) -> None:
    tx = uniopt.dialects.torch.Adam(lr=0.1, eps=0.0)
    params = start_of("float32", {"b": (3,), "w": (3, 4)})
    state = tx.init(params)
    for gradient in ({**params, "b": None}, params):
        _, state = tx.update(gradient, state, params)
    with pytest.raises(PortingError, match=r"params\['b'\] has taken 1, params\['w'\] has taken 2"):
        side(make, params).load(tx, state)


def test_before_the_first_step() -> None:
    start, stream = start_of("float32"), gradients_of("float32", STEPS)
    for side in ("mlx", "keras"):
        make = FAMILIES["Adam"][side]
        whole, new, back = (SIDES[side](make, start) for _ in range(3))
        back.load(*new.ported())
        whole.run(stream)
        back.run(stream)
        assert error(back.params, whole.params, start) == 0


def test_parameters_that_the_optimizer_does_not_have() -> None:
    optimizer = mlx.optimizers.Adam(0.1)
    optimizer.apply_gradients({"w": mx.ones(2)}, {"w": mx.ones(2)})
    with pytest.raises(PortingError, match="no state for a parameter: KeyError"):
        porting.from_mlx(optimizer, {"v": mx.ones(2)})
    with pytest.raises(PortingError, match="no variables yet"):
        porting.from_keras(keras.optimizers.Adam())
    twice = keras.optimizers.Adam()
    twice.build([keras.Variable(np.ones(2), name="w") for _ in range(2)])
    with pytest.raises(PortingError, match="named_variables="):
        porting.from_keras(twice)
    named = dict(zip("ab", twice._trainable_variables, strict=True))
    tx, state = porting.from_keras(twice, "numpy", named_variables=named)
    assert sorted(uniopt.tree_get(state, "mu")) == ["a", "b"]
    assert "adam" in repr(tx)


def test_a_slot_that_would_lose_digits() -> None:
    params = {"w": mx.ones(3, dtype=mx.bfloat16)}
    optimizer = mlx.optimizers.SGD(0.5, momentum=0.5)
    optimizer.apply_gradients(params, params)
    tx = uniopt.sgd(0.1, momentum=0.9)
    grads = {"w": np.asarray([0.1, 0.2, 0.3], np.float32)}
    _, state = tx.update(grads, tx.init(grads), grads)
    with pytest.raises(PortingError, match=r"v of w is mlx.core.float32 and loses digits as mlx.core.bfloat16"):
        porting.to_mlx(tx, state, optimizer, params)
    assert (optimizer.momentum, optimizer.state["w"]["v"].tolist()) == (0.5, [1.0] * 3)  # it is as it was
