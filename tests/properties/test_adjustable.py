"""Numbers of transformations are read, and others put in their places, also one for each leaf."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from uniopt.adjustable import adjusted, numbers
from uniopt.errors import HyperparameterError
from uniopt.transformation import stage_of, transformation

CASES = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]


def build(name: str, setting: str) -> Any:
    hyper = SETTINGS[name][setting]
    return getattr(uniopt, name)(**{key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()})


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_with_its_own_numbers_a_transformation_is_itself(name: str, setting: str) -> None:
    stage = stage_of(build(name, setting))
    assert adjusted(stage, lambda owner, key, value: value) == stage
    assert repr(adjusted(stage, lambda owner, key, value: value)) == repr(stage)


WRAPPED = {
    "chain": lambda rate: uniopt.chain(uniopt.clip(1.0), uniopt.adam(rate)),
    "named_chain": lambda rate: uniopt.named_chain(("a", uniopt.clip(1.0)), ("b", uniopt.adam(rate))),
    "masked": lambda rate: uniopt.masked(uniopt.adam(rate), True),
    "partition": lambda rate: uniopt.partition({"a": uniopt.adam(rate), "b": uniopt.sgd(rate)}, "a"),
    "count_by_leaf": lambda rate: uniopt.count_by_leaf(uniopt.adam(rate)),
    "master_weights": lambda rate: uniopt.master_weights(uniopt.adam(rate)),
    "MultiSteps": lambda rate: uniopt.MultiSteps(uniopt.adam(rate), 2),
    "decay_first": lambda rate: uniopt.decay_first(uniopt.adam(rate), rate, 0.5),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_other_numbers_make_another_transformation(name: str) -> None:
    """Wherever the number stands, also where a stage has made something of it."""
    found = adjusted(stage_of(WRAPPED[name](0.25)), lambda owner, key, x: 0.5 if key == "learning_rate" else x)
    assert found == stage_of(WRAPPED[name](0.5)) != stage_of(WRAPPED[name](0.25))
    params = [np.asarray([1.0, 2.0])]
    one, other = (tx.update(params, tx.init(params), params)[0] for tx in (transformation(found), WRAPPED[name](0.5)))
    np.testing.assert_array_equal(one, other)


def test_what_is_found() -> None:
    schedule = uniopt.constant_schedule(0.5)
    tx = uniopt.chain(uniopt.clip_by_global_norm(2.0), uniopt.trace(0.25), uniopt.scale_by_learning_rate(schedule))
    assert [x for x in numbers(stage_of(tx)) if x[1] != "dampening"] == [
        ("clip_by_global_norm", "max_norm", 2.0),
        ("trace", "decay", 0.25),
        ("scale_by_learning_rate", "learning_rate", schedule),
    ]


def test_one_for_each_leaf() -> None:
    """Numbers, arrays, and schedules; also where the first state is made of them."""
    rates = {"a": 0.5, "b": np.asarray(0.25), "c": uniopt.constant_schedule(0.125)}
    params = {key: np.ones(2) for key in rates}
    stage = stage_of(uniopt.scale_by_learning_rate(uniopt.constant_schedule(1.0)))
    tx = transformation(adjusted(stage, lambda owner, key, x: uniopt.PerLeaf(rates)))
    updates, _ = tx.update(params, tx.init(params), params)
    assert {key: float(x[0]) for key, x in updates.items()} == {"a": -0.5, "b": -0.25, "c": -0.125}

    sizes = uniopt.PerLeaf({"a": 0.5, "b": 0.25})
    rprop = stage_of(uniopt.rprop(1.0))
    first = transformation(adjusted(rprop, lambda owner, key, x: sizes if key == "learning_rate" else x))
    state = first.init({"a": np.ones(2), "b": np.ones(2)})
    assert [float(x[0]) for x in uniopt.tree.leaves(state)[:2]] == [0.5, 0.25]


def test_a_stage_with_one_number_for_all_leaves_takes_no_more() -> None:
    tx = uniopt.clip_by_global_norm(2.0)
    with pytest.raises(HyperparameterError, match="max_norm of clip_by_global_norm is one number for all parameters"):
        adjusted(stage_of(tx), lambda owner, key, x: uniopt.PerLeaf({"a": 1.0}))
