"""A library that has nothing but the standard, as somebody else adds it."""

from __future__ import annotations

from typing import Any

import array_api_strict as xp
import numpy as np
from uniopt.backends import StandardBackend


class Plain(StandardBackend):
    name = "plain"
    array_types = ("array_api_strict._array_object.Array",)
    namespace = "array_api_strict"


class Traced(Plain):
    def is_traced(self, x: Any) -> bool:
        return True


def test_values_go_there_and_back() -> None:
    backend = Plain()
    assert backend.xp is xp
    found = backend.to_numpy(backend.from_numpy(np.asarray([1.0, 2.0], np.float32)))
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [1.0, 2.0])


def test_nothing_more_is_promised() -> None:
    backend, x = Plain(), xp.ones(2)
    assert backend.why_unavailable() is None
    assert backend.value_and_grad is None
    assert backend.node(x) is None
    assert not backend.is_traced(x)
    assert backend.compile(np.cos) is np.cos
    assert backend.compile_step(np.cos, donate=True, parameters={}) is np.cos
    assert not backend.lacks


def test_a_condition_that_is_traced_calls_both_sides() -> None:
    x, called = xp.ones(2), []

    def side(factor: float) -> Any:
        return lambda: called.append(factor) or [factor * x, x]

    for predicate, expected in ((True, 2.0), (False, 3.0)):
        chosen, same = Traced().cond(xp.asarray(predicate), side(2.0), side(3.0))
        np.testing.assert_array_equal(np.asarray(chosen), [expected] * 2)
        assert same is x
    assert called == [2.0, 3.0, 2.0, 3.0]
