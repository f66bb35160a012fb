"""A transformation is a value: it pickles, compares, is hashed, and prints as the calls that make it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.conftest import EVERYWHERE, require
from tests.properties.problems import ONE_EACH, PLAIN, Case, gradients, parameters
from tests.shown import SHOWN

OTHERS = {
    "chain": lambda: uniopt.chain(uniopt.trace(0.9), uniopt.scale(-0.1)),
    "named_chain": lambda: uniopt.named_chain(("m", uniopt.trace(0.9)), ("s", uniopt.scale(-0.1))),
    "identity": uniopt.identity,
    "empty chain": uniopt.chain,
    "masked": lambda: uniopt.masked(uniopt.scale(2.0), {"dense": True, "b": False}),
    "decay": lambda: uniopt.add_decayed_weights(0.1, mask={"w": True}),
    "noise": lambda: uniopt.add_noise(0.1, 0.5, 3),
    "clipping": lambda: uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.clip(0.5), uniopt.normalize()),
    "clipping of units": lambda: uniopt.adaptive_grad_clip(0.5, axis=(0, 1)),
    "privacy": lambda: uniopt.dpsgd(0.1, 1.0, 0.5, 3),
    "running mean": lambda: uniopt.params_ema(0.5),
    "mean": lambda: uniopt.params_mean(3, 2),
    "zeros": uniopt.set_to_zero,
    "constraints": lambda: uniopt.chain(uniopt.zero_nans(), uniopt.keep_params_nonnegative()),
    "schedule": lambda: uniopt.scale_by_schedule(uniopt.warmup_cosine_decay_schedule(0.0, 1.0, 5, 20, 0.1)),
    "stateless": lambda: uniopt.stateless(double),
    "adam with schedule": lambda: uniopt.adam(uniopt.cosine_decay_schedule(0.1, 100), mu_dtype="bfloat16"),
    "decay schedule": lambda: uniopt.adamw(0.1, weight_decay=uniopt.linear_schedule(0.1, 0.0, 10)),
    "accumulated": lambda: uniopt.MultiSteps(uniopt.adam(0.1), 4, should_skip_update_fn=uniopt.skip_not_finite),
    "injected": lambda: uniopt.inject_hyperparams(uniopt.adam)(0.1, b1=uniopt.linear_schedule(0.5, 0.9, 10)),
    "scaled losses": lambda: uniopt.dynamic_loss_scaling(uniopt.adam(0.1)),
    "joined": lambda: uniopt.sgd(
        uniopt.join_schedules([uniopt.constant_schedule(0.1), uniopt.constant_schedule(0.01)], [5])
    ),
}


def double(updates: Any, params: Any) -> Any:
    return uniopt.tree.map(lambda g: 2 * g, updates)


MAKERS = [pytest.param(case.build, id=str(case)) for case in PLAIN]
MAKERS += [pytest.param(make, id=name) for name, make in OTHERS.items()]


@pytest.mark.parametrize("make", MAKERS)
def test_equal_when_made_alike(make: Any) -> None:
    assert make() == make()
    assert hash(make()) == hash(make())
    assert len({make(), make()}) == 1


@pytest.mark.parametrize("make", MAKERS)
def test_pickles(make: Any) -> None:
    tx = make()
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(tx, protocol))
        assert copy == tx
        assert hash(copy) == hash(tx)
        assert repr(copy) == repr(tx)


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_a_pickled_copy_does_the_same(case: Case) -> None:
    tx = case.build()
    copy = pickle.loads(pickle.dumps(tx))
    params, grads = parameters(1), gradients(2, 1)[0]
    state = pickle.loads(pickle.dumps(tx.init(params)))  # what is needed to go on is all in the state
    mine, _ = tx.update(grads, tx.init(params), params)
    theirs, _ = copy.update(grads, state, params)
    for x, y in zip(uniopt.tree.leaves(mine), uniopt.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("make", MAKERS)
def test_all_are_different(make: Any) -> None:
    # nadam is adam with a switch, and prints as what it is; every other pair differs.
    tx = make()
    same = [str(case) for case in PLAIN if case.build() == tx]
    same += [name for name, other in OTHERS.items() if other() == tx]
    assert len(same) == 1


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_every_hyperparameter_counts(case: Case) -> None:
    assert case.build() != case.build(learning_rate=0.025)
    assert hash(case.build()) != hash(case.build(learning_rate=0.025))
    assert case.build() != uniopt.identity()
    assert case.build() != "adam"


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_prints_its_hyperparameters(case: Case) -> None:
    text = repr(case.build(learning_rate=0.0625))
    assert "learning_rate=0.0625" in text
    shown = {name: f"{name}={value!r}" for name, value in case.settings.items() if name != "learning_rate"}
    if "momentum" in shown:
        shown["momentum"] = f"trace(decay={case.settings['momentum']!r}"
    if "centered" in shown:
        shown["centered"] = "scale_by_stddev("
    for part in shown.values():
        assert part in text


@pytest.mark.parametrize("make", [m for m in MAKERS if m.id != "stateless"])
def test_the_text_evaluates_to_the_transformation(make: Any) -> None:
    assert eval(repr(make()), dict(SHOWN)) == make()


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_the_text_of_each_stage_evaluates_to_the_stage(case: Case) -> None:
    stages = case.build().update.args[0].stages
    assert len(stages) >= 2
    for stage in stages:
        assert eval(repr(stage), dict(SHOWN)).update.args[0] == stage


def test_arrays_as_hyperparameters_compare_by_value(backend: Backend) -> None:
    def rate(value: float) -> Any:
        return backend.from_numpy(np.asarray(value, dtype=np.float32))

    assert uniopt.adam(rate(0.5)) == uniopt.adam(rate(0.5))
    assert hash(uniopt.adam(rate(0.5))) == hash(uniopt.adam(rate(0.5)))
    assert uniopt.adam(rate(0.5)) != uniopt.adam(rate(0.25))
    assert uniopt.adam(1e-3, b1=rate(0.5)) != uniopt.adam(1e-3, b1=0.5) or backend.name == "numpy"


@pytest.mark.parametrize("name", [name for name in EVERYWHERE if name != "mlx"])
def test_an_array_as_hyperparameter_pickles(name: str) -> None:
    # MLX arrays do not pickle by themselves.
    tx = uniopt.adam(require(name).from_numpy(np.asarray(0.5, dtype=np.float32)))
    assert pickle.loads(pickle.dumps(tx)) == tx


def test_unpacks_like_a_pair() -> None:
    init, update = uniopt.sgd(0.5)
    params = np.asarray([1.0, 2.0])
    updates, _ = update(updates=params, state=init(params=params), params=params)
    np.testing.assert_array_equal(updates, [-0.5, -1.0])
