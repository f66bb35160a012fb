"""Compiled NumPy = eager NumPy = compiled torch, bit for bit, state included, where no element depends on another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.fusion.walks import (
    DTYPES,
    ELEMENTWISE,
    assert_same_bits,
    build,
    compiled,
    copied,
    eager,
    gradients,
    in_torch,
    normal,
    odd_tree,
    takes,
)

WIDE = pytest.mark.wide


def cases(dtypes: tuple[str, ...]) -> list[Any]:
    """Return every setting in float32 and the first one of each optimizer in the other dtypes; the rest is wide."""
    seen: set[tuple[str, str]] = set()
    found = []
    for dtype in dtypes:
        for name, setting in ELEMENTWISE:
            if not takes(name, dtype):
                continue
            quick = dtype == "float32" or (name, dtype) not in seen
            seen.add((name, dtype))
            found.append(pytest.param(name, setting, dtype, marks=() if quick else WIDE))
    return found


def check(name: str, setting: str, dtype: str, steps: int) -> None:
    tx, stream = build(name, setting), gradients((name, setting), dtype, min(steps, 50))
    params = odd_tree(normal((name, setting), dtype))
    walks = (
        eager(tx, params, stream, steps),
        compiled(tx, copied(params), stream, steps),
        compiled(tx, in_torch(params), [in_torch(g) for g in stream], steps),
    )
    with np.errstate(invalid="ignore"):  # the sign of a complex 0
        for k, (expected, by_numpy, by_torch) in enumerate(zip(*walks, strict=True), 1):
            assert_same_bits(by_numpy, expected, f"NumPy, step {k}")
            assert_same_bits(by_torch, expected, f"torch, step {k}")


@pytest.mark.parametrize(("name", "setting", "dtype"), cases(DTYPES))
def test_twenty_steps(name: str, setting: str, dtype: str) -> None:
    check(name, setting, dtype, 20)


@pytest.mark.wide
@pytest.mark.parametrize(
    ("name", "setting", "dtype"), [(*case, dtype) for case in ELEMENTWISE for dtype in DTYPES if takes(case[0], dtype)]
)
def test_a_thousand_steps(name: str, setting: str, dtype: str) -> None:
    check(name, setting, dtype, 1000)
