"""Steps with conditions: each way that they turn out has a program, which does what eager steps do and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from uniopt.backends.errors import EagerStepWarning

import uniopt
from tests.fusion.walks import assert_same_bits, compiled, copied, eager, gradients, in_torch, normal, odd_tree

CONDITIONAL: dict[str, Callable[[], uniopt.GradientTransformation]] = {
    "accumulation": lambda: uniopt.MultiSteps(uniopt.adamw(0.125), 3),
    "accumulation with skips": lambda: uniopt.MultiSteps(
        uniopt.adam(0.125), 2, should_skip_update_fn=uniopt.skip_not_finite
    ),
    "nested": lambda: uniopt.MultiSteps(uniopt.apply_if_finite(uniopt.adam(0.125), 2), 2),
    "a rate that is an array": lambda: uniopt.MultiSteps(uniopt.sgd(np.asarray(0.125, dtype=np.float32)), 2),
    "ascent and descent": lambda: uniopt.sam(uniopt.adam(0.125), uniopt.sgd(0.5), 3),
}


def with_nan(stream: list[Any]) -> list[Any]:
    for k in (2, 5):
        stream[k]["matrix"][0, 0] = np.nan
    return stream


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CONDITIONAL)
def test_bits_are_those_of_eager_steps(name: str, dtype: str) -> None:
    tx, params, stream = CONDITIONAL[name](), odd_tree(normal(name, dtype)), gradients(name, dtype, 9)
    if "array" not in name:
        stream = with_nan(stream)
    walks = [eager(tx, params, stream, 9), compiled(tx, copied(params), stream, 9)]
    if "array" not in name:  # one of NumPy's, which is no number to torch
        walks.append(compiled(tx, in_torch(params), [in_torch(g) for g in stream], 9))
    for k, (expected, *others) in enumerate(zip(*walks, strict=True), 1):
        for found in others:
            assert_same_bits(found, expected, f"step {k}")


def counted(calls: list[int]) -> uniopt.GradientTransformation:
    def rule(xp: Any, g: Any, s: Any) -> Any:
        calls.append(1)
        return -g, s

    return uniopt.leafwise(uniopt.EmptyState, None, rule)


def test_a_side_is_recorded_when_it_is_first_taken() -> None:
    calls: list[int] = []
    tx = uniopt.MultiSteps(counted(calls), 3)
    params = np.ones(4, dtype=np.float32)
    step, state = uniopt.compile(tx), tx.init(params)
    seen = []
    for _ in range(6):
        params, state = step(np.ones(4, dtype=np.float32), state, params)
        seen.append(len(calls))
    # Once to see what both sides are, once for the side itself.
    assert seen == [1, 1, 2, 2, 2, 2]
    assert params.tolist() == [-1.0] * 4


def test_a_side_that_cannot_be_recorded_runs_eagerly_before_anything_is_written() -> None:
    def rule(xp: Any, g: Any, s: Any) -> Any:
        return (-g if float(xp.sum(g)) > 0 else g), s

    tx = uniopt.MultiSteps(uniopt.leafwise(uniopt.EmptyState, None, rule), 2)
    params = np.ones(4, dtype=np.float32)
    step, state = uniopt.compile(tx), tx.init(params)
    with pytest.warns(EagerStepWarning, match="float"):
        params, state = step(np.ones(4, dtype=np.float32), state, params)
    params, state = step(np.ones(4, dtype=np.float32), state, params)
    assert params.tolist() == [0.0] * 4


def test_missing_gradients() -> None:
    tx = uniopt.MultiSteps(uniopt.adam(0.125), 2)
    params = {"a": np.ones(3, dtype=np.float32), "b": np.ones(2, dtype=np.float32)}
    streams = [{"a": np.full(3, k, dtype=np.float32), "b": None if k == 2 else np.ones(2, "f4")} for k in range(1, 5)]
    for k, (found, expected) in enumerate(
        zip(compiled(tx, copied(params), streams, 4), eager(tx, params, streams, 4), strict=True), 1
    ):
        assert_same_bits(found, expected, f"step {k}")


def test_inputs_can_be_kept() -> None:
    tx = uniopt.MultiSteps(uniopt.sgd(0.5), 2)
    params = torch.ones(3)
    step, state = uniopt.compile(tx, donate=False), tx.init(params)
    for _ in range(2):
        after, state = step(torch.ones(3), state, params)
        assert params.tolist() == [1.0] * 3
    assert after.tolist() == [0.5] * 3
