"""What is written down alike goes on alike, and what is not is told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import uniopt
from tests.porting.runs import error, gradients_of, start_of, uniopt_run
from uniopt.dialects import keras, mlx, torch
from uniopt.errors import PortingError
from uniopt.porting.description import describe, state_for

SHAPES = {"b": (3,), "w": (4, 3)}
START, STREAM = start_of("float64", SHAPES), gradients_of("float64", 8, SHAPES)


def fall(count: Any) -> Any:
    return 0.1 / (1.0 + count)


DECAY, MASK = uniopt.add_decayed_weights(0.1), {"b": False, "w": True}
ALIKE: dict[str, tuple[Any, Any]] = {
    "the rate in the momentum": (uniopt.sgd(0.1, 0.9), keras.SGD(0.1, 0.9)),
    "the rate in the second momentum": (
        uniopt.rmsprop(0.1, eps_in_sqrt=False, momentum=0.5, nesterov=True),
        uniopt.chain(uniopt.scale_by_rms(eps_in_sqrt=False), uniopt.trace(0.5, True), uniopt.scale(-0.1)),
    ),
    "decay by a factor": (uniopt.adamw(0.1, weight_decay=0.3), torch.AdamW(0.1, weight_decay=0.3)),
    "decay first": (uniopt.adamw(fall, eps=0.0, weight_decay=0.3), keras.AdamW(fall, 0.3, epsilon=0.0)),
    "decay of some": (
        uniopt.adamw(0.1, weight_decay=0.3, mask=MASK),
        uniopt.partition({"w": uniopt.adamw(0.1, weight_decay=0.3), "b": uniopt.adam(0.1)}, {"b": "b", "w": "w"}),
    ),
    "decay of gradient descent": (uniopt.chain(DECAY, uniopt.sgd(0.1)), keras.SGD(0.1, weight_decay=0.1)),
    "no epsilon": (torch.Adam(0.1, eps=0.0), keras.Adam(0.1, epsilon=0.0)),
    "no epsilon, AMSGrad": (torch.Adam(0.1, eps=0.0, amsgrad=True), keras.Adam(0.1, epsilon=0.0, amsgrad=True)),
    "no epsilon, RAdam": (torch.RAdam(0.1, eps=0.0), uniopt.radam(0.1, eps=0.0)),
    "no epsilon, RMSprop": (torch.RMSprop(0.1, 0.9, eps=0.0), keras.RMSprop(0.1, epsilon=0.0)),
    "no epsilon, Adafactor": (torch.Adafactor(0.1, eps=(0.0, 1e-3)), keras.Adafactor(0.1, epsilon_1=0.0)),
    "a least rate": (keras.Adafactor(0.01), mlx.Adafactor()),
    "the first step is over": (torch.SGD(0.1, 0.5, 0.25), mlx.SGD(0.1, 0.5, dampening=0.25)),
    "no momentum": (torch.SGD(0.1, 0.0, weight_decay=0.1), mlx.SGD(0.1, weight_decay=0.1)),
    "sizes within bounds": (uniopt.rprop(0.1), torch.Rprop(0.1)),
    "a schedule and its sign": (
        uniopt.chain(uniopt.scale_by_adam(), uniopt.scale_by_schedule(fall), uniopt.scale(-1.0)),
        uniopt.adam(fall),
    ),
    "named": (uniopt.named_chain(("adam", uniopt.scale_by_adam()), ("rate", uniopt.scale(-0.1))), uniopt.adam(0.1)),
}


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("turned", [False, True], ids=["there", "back"])
def test_alike(name: str, turned: bool) -> None:
    first, second = reversed(ALIKE[name]) if turned else ALIKE[name]
    params, state = uniopt_run(first, first.init(START), START, STREAM[:4], "numpy")
    other = state_for(second, params, describe(first, state, params))
    expected, _ = uniopt_run(first, state, params, STREAM[4:], "numpy")
    found, _ = uniopt_run(second, other, params, STREAM[4:], "numpy")
    assert error(found, expected, START) <= 64


UNLIKE: dict[str, tuple[Any, Any]] = {
    "another number": (uniopt.adam(0.1, b1=0.8), uniopt.adam(0.1)),
    "another rate": (uniopt.adam(0.1), uniopt.adam(0.2)),
    "a schedule": (uniopt.adam(fall), uniopt.adam(0.1)),
    "decay twice": (uniopt.chain(DECAY, DECAY, uniopt.adam(0.1)), uniopt.chain(DECAY, uniopt.adam(0.1))),
    "decay on both sides": (
        keras.SGD(0.1, weight_decay=0.1),
        uniopt.chain(DECAY, keras.SGD(0.1, weight_decay=0.1)),
    ),
    "decay by another rate": (
        uniopt.chain(uniopt.adam(0.1), uniopt.shrink_weights(0.2, 0.1)),
        uniopt.adamw(0.1, weight_decay=0.1),
    ),
    "decay by half of the rate": (
        uniopt.chain(uniopt.scale_by_adam(), uniopt.scale(2.0), torch.SGD(fall), uniopt.shrink_weights(fall, 0.1)),
        uniopt.chain(uniopt.scale_by_adam(), DECAY, uniopt.scale(2.0), uniopt.scale_by_learning_rate(fall)),
    ),
    "decay by one of two schedules": (
        uniopt.chain(uniopt.adamw(fall, weight_decay=0.1), uniopt.scale_by_schedule(fall)),
        uniopt.chain(uniopt.scale_by_adam(), uniopt.scale_by_schedule(fall), uniopt.sgd(fall), DECAY),
    ),
    "decay before the size is measured": (
        keras.Adafactor(0.1, weight_decay=0.1),
        uniopt.chain(torch.Adafactor(0.1), uniopt.shrink_weights(0.1, 0.1)),
    ),
    "the rate in the momentum, with a schedule": (uniopt.sgd(fall, 0.9), keras.SGD(fall, 0.9)),
    "epsilon": (torch.Adam(0.1), keras.Adam(0.1, epsilon=1e-8)),
    "dampening": (torch.SGD(0.1, 0.5, 0.25), torch.SGD(0.1, 0.5)),
    "the norm of fewer leaves": (
        uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adam(0.1)),
        uniopt.partition(
            {k: uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adam(0.1)) for k in SHAPES}, {k: k for k in SHAPES}
        ),
    ),
    "maximize": (torch.Adam(0.1, maximize=True), torch.Adam(0.1)),
}


@pytest.mark.parametrize("name", UNLIKE)
@pytest.mark.parametrize("turned", [False, True], ids=["there", "back"])
def test_unlike(name: str, turned: bool) -> None:
    first, second = reversed(UNLIKE[name]) if turned else UNLIKE[name]
    params, state = uniopt_run(first, first.init(START), START, STREAM[:4], "numpy")
    with pytest.raises(PortingError, match=r"params\['[bw]'\] would be optimized otherwise"):
        state_for(second, params, describe(first, state, params))


def test_a_first_step_that_is_not_dampened_is_told_apart() -> None:
    first, second = torch.SGD(0.1, 0.5, 0.25), mlx.SGD(0.1, 0.5, dampening=0.25)
    with pytest.raises(PortingError, match="undampened_first_step is False, not True"):
        state_for(second, START, describe(first, first.init(START), START))


def test_a_schedule_that_is_ahead_of_the_steps_is_told_apart() -> None:
    first, second = mlx.Adafactor(eps=(0.0, 1e-3)), torch.Adafactor(0.01, eps=(0.0, 1e-3))
    _, state = uniopt_run(first, first.init(START), START, STREAM[:4], "numpy")
    ahead = uniopt.tree_set(state, lambda path, x: "ScaleByScheduleState" in str(path), count=np.asarray(7, np.int32))
    assert uniopt.tree_get(state_for(second, START, describe(first, state, START)), "FactoredState").count == 4
    with pytest.raises(PortingError, match="its schedule is at step 4, not 7"):
        state_for(second, START, describe(first, ahead, START))


def test_a_momentum_with_a_rate_of_0_inside_is_lost() -> None:
    tx = keras.SGD(0.0, 0.5)
    with pytest.raises(PortingError, match=r"trace.trace of params\['b'\] has the learning rate inside, which is 0"):
        describe(tx, tx.init(START), START)


def test_schedules_have_a_count_of_their_own() -> None:
    tx = uniopt.chain(uniopt.scale_by_adam(), uniopt.scale_by_learning_rate(fall))
    _, state = uniopt_run(tx, tx.init(START), START, STREAM[:4], "numpy")
    ahead = uniopt.tree_set(state, lambda path, x: "ScaleByScheduleState" in str(path), count=np.asarray(7, np.int32))
    assert [x.position for x in describe(tx, ahead, START)] == [7, 7]
    assert [x.count for x in describe(tx, ahead, START)] == [4, 4]
