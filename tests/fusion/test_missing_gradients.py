"""Numbers that are gathered from all leaves, with some gradients missing: one program does what eager steps do."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.fusion.devices import Host, numpy_on, require_compiler
from tests.fusion.test_recompilation import patterns
from tests.fusion.walks import copied, eager, gradients, normal, objective, odd_tree

Schedule = Callable[[Any], Any]
GATHERING: dict[str, Callable[[Schedule], uniopt.GradientTransformation]] = {
    "a norm": lambda rate: uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adamw(rate)),
    "one norm after another": lambda rate: uniopt.chain(
        uniopt.clip_by_global_norm(1.0), uniopt.normalize_by_update_norm(), uniopt.sgd(rate)
    ),
    "an inner product": lambda rate: uniopt.mechanize(uniopt.sgd(rate)),
    "a condition": lambda rate: uniopt.apply_if_finite(uniopt.adam(rate), 3),
    "a scale": lambda rate: uniopt.dynamic_loss_scaling(uniopt.adam(rate)),
}


def walk(tx: uniopt.GradientTransformation, recordings: list[int]) -> list[int]:
    """Compare compiled steps with eager ones, and return how many recordings there were up to each step."""
    params, stream = odd_tree(normal("missing", "float64")), patterns(gradients("missing", "float64", 12), 4)
    stream.append(uniopt.tree.map(lambda x: None, stream[0]))
    expected = [copied(x) for x in eager(tx, params, stream, len(stream))]
    recordings.clear()
    state, step, found = tx.init(params), uniopt.compile(tx), []
    for k, grads in enumerate(stream):
        params, state = step(grads, state, params, value=objective(k))
        after = uniopt.tree.leaves_with_paths(expected[k], "")
        for x, (path, y) in zip(uniopt.tree.leaves((params, state)), after, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13, err_msg=f"step {k}: {path}")
        found.append(len(recordings))
    return found


def counted(recordings: list[int]) -> Schedule:
    def rate(count: Any) -> Any:
        recordings.append(1)
        return 0.125 / (count + 1)

    return rate


@pytest.mark.parametrize("name", GATHERING)
def test_no_pattern_is_recorded(name: str) -> None:
    recordings: list[int] = []
    found = walk(GATHERING[name](counted(recordings)), recordings)
    assert found[2] == found[-2]
    assert found[-1] <= found[-2] + 2  # without any gradient nothing is gathered


@pytest.mark.parametrize("name", GATHERING)
def test_no_pattern_is_recorded_on_a_device(name: str) -> None:
    require_compiler()
    recordings: list[int] = []
    with numpy_on(Host()):
        found = walk(GATHERING[name](counted(recordings)), recordings)
    assert found[0] == found[-2]


def scaled_by(gathered: Callable[[Any, list[Any]], Any]) -> uniopt.GradientTransformation:
    """Return gradient descent whose step is divided by a number made of all gradients that are there."""

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        found = [g for g in uniopt.tree.leaves(updates) if g is not None]
        scale = gathered(found[0].__array_namespace__(), found) if found else 1.0
        return uniopt.tree.map(lambda g: None if g is None else -0.125 * g / scale, updates), state

    return uniopt.GradientTransformation(lambda params: (), update)


@pytest.mark.parametrize(
    "gathered",
    [
        lambda xp, gs: 1.0 + reduce(add, [xp.sum(g * g) for g in gs]) / len(gs),
        lambda xp, gs: 1.0 + xp.sum(gs[0] * gs[0]),
        lambda xp, gs: 1.0 + reduce(add, [xp.sum(g * g) for g in gs]) * (2.0 if len(gs) > 3 else 3.0),
        lambda xp, gs: reduce(add, [1.0 + xp.sum(g * g) for g in gs]),
        lambda xp, gs: 1.0 + reduce(xp.maximum, [xp.max(xp.abs(g)) for g in gs if 0 not in g.shape], xp.asarray(0.0)),
    ],
    ids=["mean", "first", "number", "shifted", "largest"],
)
def test_rules_that_count_the_leaves_are_right_as_well(gathered: Callable[[Any, list[Any]], Any]) -> None:
    walk(scaled_by(gathered), [])
