"""Rules that do not return what a rule returns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import uniopt
from uniopt.errors import StateError


class Slots(NamedTuple):
    m: Any
    n: Any


def too_long(xp: Any, g: Any, s: Any) -> Any:
    return g, (s.m, s.n, g)


def too_short(xp: Any, g: Any, s: Any) -> Any:
    return g, (s.m,)


@pytest.mark.parametrize(("rule", "found"), [(too_long, 3), (too_short, 1)])
def test_a_state_of_another_length(rule: Any, found: int) -> None:
    tx = uniopt.leafwise(Slots, lambda xp, p: {"m": 0 * p, "n": 0 * p}, rule)
    params = {"w": np.ones(3)}
    expected = (
        rf"{rule.__name__} returned a state of {found} values for params\['w'\], expected the 2 of Slots.*_replace"
    )
    with pytest.raises(StateError, match=expected):
        tx.update(params, tx.init(params), params)
