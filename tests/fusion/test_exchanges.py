"""States whose arrays and numbers take each other's values: all is read before it is overwritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from uniopt.backends import registry

import uniopt
from tests.fusion.devices import Host, numpy_on, require_compiler
from tests.fusion.walks import assert_same_bits, compiled, eager, tensor

Rule = Callable[..., Any]


class Other(NamedTuple):
    m: Any


EXCHANGES: dict[str, Rule] = {
    "plainly": lambda xp, g, s, p: (s.m - p, s._replace(m=p)),
    "backwards": lambda xp, g, s, p: (s.m - p, s._replace(m=xp.flip(p))),
    "transposed": lambda xp, g, s, p: (s.m - p, s._replace(m=xp.permute_dims(p, (1, 0)))),
    "scaled": lambda xp, g, s, p: (s.m - p, s._replace(m=2.0 * xp.permute_dims(p, (1, 0)))),
    "both": lambda xp, g, s, p: (xp.permute_dims(s.m, (1, 0)) - p, s._replace(m=xp.permute_dims(p, (1, 0)))),
}


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", EXCHANGES)
def test_arrays_that_take_each_others_values(name: str, library: str) -> None:
    """Each can be written when the other has been read, by way of views too."""
    tx = uniopt.leafwise(Other, lambda xp, p: {"m": 3.0 * xp.ones_like(p)}, EXCHANGES[name])
    params = np.arange(9.0).reshape(3, 3)
    mine = params.copy() if library == "numpy" else tensor(params.copy())
    stream = [mine + 1] * 4
    expected = eager(tx, params, [params + 1] * 4, 4)
    for k, pair in enumerate(zip(compiled(tx, mine, stream, 4), expected, strict=True), 1):
        assert_same_bits(*pair, f"step {k}")


State = list[Any]
Change = Callable[[Any, State], State]

ARRAYS: dict[str, Change] = {
    "swap": lambda xp, s: [s[1], s[0], s[2]],
    "cycle": lambda xp, s: [s[1], s[2], s[0]],
    "cycle backwards": lambda xp, s: [xp.flip(s[1]), xp.flip(s[2]), xp.flip(s[0])],
    "chain": lambda xp, s: [xp.roll(s[0], 1), xp.flip(s[0]), xp.flip(s[1])],
    "one for all": lambda xp, s: [xp.broadcast_to(s[1][:1], s[0].shape), xp.flip(s[0]), s[2]],
}
NUMBERS: dict[str, Change] = {
    "cycle of numbers": lambda xp, s: [s[1], s[2], s[0], s[3]],
    "numbers for arrays": lambda xp, s: [s[1], s[2], s[3][0], xp.broadcast_to(s[0], s[3].shape)],
    "elements": lambda xp, s: [s[3][0], s[3][1, ...], xp.reshape(s[3][:1], ()), xp.roll(s[3], 1)],
}
PARTS: dict[str, Change] = {
    "real part": lambda xp, s: [s[0] * 2, s[1], xp.real(s[0])],
    "imaginary part": lambda xp, s: [s[1], s[0], xp.flip(xp.imag(s[0])) + xp.real(s[1])],
}


def check(change: Change, start: State, where: str) -> None:
    """Compare some compiled steps that change a state with what the function itself does."""
    mine = [tensor(x) if where == "torch" else x.copy() for x in start]
    tx = uniopt.GradientTransformation(
        lambda params: mine,
        lambda updates, state, params=None: (updates, change(registry.backend_of(state[0]).xp, state)),
    )
    params = tensor(np.ones(2)) if where == "torch" else np.ones(2)
    grads, state, step = 0.0 * params, tx.init(params), uniopt.compile(tx)
    expected = start
    for k in range(4):
        params, state = step(grads, state, params)
        expected = [np.array(x) for x in change(registry.get("numpy").xp, expected)]
        assert_same_bits(state, expected, f"step {k}")


def run(change: Change, start: State, where: str) -> None:
    if where == "device":
        require_compiler()
        with numpy_on(Host()):
            check(change, start, where)
    else:
        check(change, start, where)


@pytest.mark.parametrize("where", ["numpy", "torch", "device"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "int8", "complex64"])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_a_state(name: str, dtype: str, where: str) -> None:
    run(ARRAYS[name], [np.arange(k, k + 3).astype(dtype) for k in (1, 5, 9)], where)


@pytest.mark.parametrize("where", ["numpy", "torch", "device"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "int8", "complex64"])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_a_state(name: str, dtype: str, where: str) -> None:
    run(NUMBERS[name], [*(np.asarray(k).astype(dtype) for k in (1, 5, 9)), np.arange(12, 15).astype(dtype)], where)


@pytest.mark.parametrize("where", ["numpy", "torch", "device"])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_complex_numbers(name: str, where: str) -> None:
    start = [np.asarray([1 + 2j, 3 + 4j, 5 + 6j]), np.asarray([7j, 8j, 9j]), np.zeros(3)]
    run(PARTS[name], start, where)
