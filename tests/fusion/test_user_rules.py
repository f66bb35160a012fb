"""Rules that nobody here wrote: by the rules of a rule they compile without a word, and have eager NumPy's results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from uniopt.backends import registry
from uniopt.backends.fusion import blocked, loops

import uniopt
from tests.fusion.rules import ELEMENTWISE, PROMOTING, REDUCING, transformation, tree_of
from tests.fusion.walks import assert_same_bits, compiled, copied, eager, in_numpy, in_torch, normal, tensor


def walks(tx: uniopt.GradientTransformation, seed: str, dtype: str, steps: int = 4) -> Any:
    make = normal(seed, dtype)
    params, stream = tree_of(make), [tree_of(make) for _ in range(steps)]
    yield from zip(
        eager(tx, copied(params), stream, steps),
        compiled(tx, copied(params), stream, steps),
        compiled(tx, in_torch(params), [in_torch(g) for g in stream], steps),
        strict=True,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", [*ELEMENTWISE, *PROMOTING])
def test_elementwise(name: str, dtype: str) -> None:
    tx = transformation({**ELEMENTWISE, **PROMOTING}[name])
    for k, (expected, by_numpy, by_torch) in enumerate(walks(tx, name, dtype)):
        assert_same_bits(by_numpy, expected, f"NumPy, step {k}")
        assert_same_bits(by_torch, expected, f"torch, step {k}")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_without_a_compiler(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Blocks of NumPy's, here of a few elements, in place of machine code."""
    monkeypatch.setattr(loops, "find_spec", lambda module: None)
    monkeypatch.setattr(blocked, "_BLOCK", 16)
    for k, (expected, by_numpy, _) in enumerate(walks(transformation(ELEMENTWISE[name]), name, "float32")):
        assert_same_bits(by_numpy, expected, f"step {k}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REDUCING)
def test_reducing(name: str, dtype: str) -> None:
    for k, (expected, by_numpy, by_torch) in enumerate(walks(transformation(REDUCING[name]), name, dtype, steps=1)):
        assert_same_bits(by_torch, by_numpy, f"torch, step {k}")
        for x, (path, y) in zip(uniopt.tree.leaves(by_numpy), uniopt.tree.leaves_with_paths(expected, ""), strict=True):
            unit = np.spacing(np.max(np.abs(y), initial=1.0).astype(y.dtype))
            assert np.max(np.abs(x - y), initial=0) <= 2 * unit, f"step {k}: {path}"


def test_a_numpy_scalar_has_a_precision_of_its_own() -> None:
    """NumPy computes with np.float64(0.1) in float64, and with 0.1 in the array's dtype."""
    tx = transformation(lambda xp, g, s: (xp.astype(g * np.float64(0.1), g.dtype) + np.float32(0.1), s))
    for k, (expected, found, _) in enumerate(walks(tx, "scalars", "float32")):
        assert_same_bits(found, expected, f"step {k}")


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_an_array_that_the_rule_holds(library: str) -> None:
    make = normal("held", "float32")
    held, params, grads = make(37), [make(37)], [make(37)]

    def rule(xp: Any, g: Any, s: Any) -> Any:
        return g * (tensor(held) if library == "torch" else held), s

    tx = uniopt.leafwise(uniopt.EmptyState, None, rule)
    start = in_torch(params) if library == "torch" else copied(params)
    found = uniopt.compile(tx)(in_torch(grads) if library == "torch" else grads, tx.init(start), start)
    assert_same_bits(found[0], [params[0] + grads[0] * held], "the step")


# More than one leaf at a time


def _clip_by_global_norm(updates: Any, params: Any) -> Any:
    leaves = [g for g in uniopt.tree.leaves(updates) if 0 not in g.shape]
    xp = registry.backend_of(leaves[0]).xp
    norm = xp.sqrt(sum(xp.sum(g * g) for g in leaves))
    return uniopt.tree.map(lambda g: g / xp.maximum(norm, 1.0), updates)


def _centralize(updates: Any, params: Any) -> Any:
    def centre(g: Any) -> Any:
        xp = registry.backend_of(g).xp
        return g - xp.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True) if g.ndim > 1 and math.prod(g.shape) else g

    return uniopt.tree.map(centre, updates)


def _of_parameters(updates: Any, params: Any) -> Any:
    return uniopt.tree.map(lambda g, p: g + 0.5 * p, updates, params)


@pytest.mark.parametrize(("f", "units"), [(_clip_by_global_norm, 2), (_centralize, 2), (_of_parameters, 0)])
def test_functions_of_trees(f: Any, units: int) -> None:
    tx = uniopt.chain(uniopt.stateless(f), uniopt.sgd(0.5, momentum=0.75))
    (expected, by_numpy, by_torch) = next(walks(tx, "trees", "float32", steps=1))
    assert_same_bits(by_torch, by_numpy, "torch")
    for x, y in zip(uniopt.tree.leaves(by_numpy), uniopt.tree.leaves(expected), strict=True):
        assert np.max(np.abs(x - y), initial=0) <= units * np.spacing(np.max(np.abs(y), initial=1.0).astype(y.dtype))


def test_a_pair_of_functions_with_a_state_of_its_own() -> None:
    """Lookahead: slow weights, a counter, and two kinds of steps that `where` chooses from."""

    def make_init(params: Any) -> Any:
        return {"count": np.asarray(0, np.int32), "slow": uniopt.tree.map(np.array, params), "nested": [(np.ones(2),)]}

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        xp = registry.backend_of(state["count"]).xp
        count = state["count"] + 1
        synchronize = count % 3 == 0

        def slower(slow: Any, p: Any, g: Any) -> Any:
            return xp.where(synchronize, slow + 0.5 * (p - 0.125 * g - slow), slow)

        slow = uniopt.tree.map(slower, state["slow"], params, updates)

        def step(g: Any, p: Any, s: Any) -> Any:
            return xp.where(synchronize, s - p, -0.125 * g)

        changes = uniopt.tree.map(step, updates, params, slow)
        return changes, {"count": xp.astype(count, xp.int32), "slow": slow, "nested": state["nested"]}

    tx = uniopt.GradientTransformation(make_init, update)
    make = normal("lookahead", "float64")
    params, stream = tree_of(make), [tree_of(make) for _ in range(7)]
    for k, (expected, found) in enumerate(
        zip(eager(tx, copied(params), stream, 7), compiled(tx, copied(params), stream, 7), strict=True)
    ):
        assert_same_bits(found, expected, f"step {k}")
    assert found[1]["count"] == 7


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_number_that_an_array_is_filled_with_is_read_in_every_step(library: str) -> None:
    number = np.asarray(0.5) if library == "numpy" else tensor(np.asarray(0.5))

    def rule(xp: Any, g: Any, s: Any) -> Any:
        return g * xp.full_like(g, number) + xp.full(g.shape, number), s

    tx = uniopt.leafwise(uniopt.EmptyState, None, rule)
    params, step = tensor(np.ones(3)) if library == "torch" else np.ones(3), uniopt.compile(tx)
    grads = params + 1.0
    state = tx.init(params)
    for k in range(3):
        number[...] = float(k)
        before = in_numpy(params).copy()
        params, state = step(grads, state, params)
        assert_same_bits(params, before + 3.0 * k, f"step {k}")
