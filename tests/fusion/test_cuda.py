"""Compiled steps on a CUDA device, on CuPy's arrays and on torch's tensors, against compiled NumPy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.fusion import walks
from tests.fusion.on_cuda import NEEDS_CUDA, assert_equal, get, leaves, put, walk
from tests.fusion.walks import (
    ELEMENTWISE,
    WITH_SUMS,
    assert_same_bits,
    build,
    compiled,
    copied,
    gradients,
    normal,
    odd_tree,
    units,
)

pytestmark = NEEDS_CUDA

POWERS = {"ftrl", "noisy_sgd"}
"""Optimizers that call functions of float32, which CUDA has within 2 ulp; the others' are of float64, rounded once."""
MAGNIFIED = {"ftrl": 128.0}
"""In ulp, by how much a step with powers may differ: ftrl subtracts two that are nearly equal; 64 was the most seen.

The others have ``1 - b**t`` in float64, of which half an ulp becomes several; 4 was the most seen, and 9 in a state,
which may differ by twice as much.
"""


def assert_near(
    library: str, tx: uniopt.GradientTransformation, params: Any, stream: list[Any], bound: float = 2.0
) -> None:
    """Fail unless each step on a device is the eager one but for its roundings."""
    step = uniopt.compile(tx)

    def run(*trees: Any, **extra: Any) -> Any:
        return get(library, step(*(put(library, x) for x in trees), **extra))

    walks.assert_near(run, tx, params, stream, bound)


@pytest.mark.parametrize(
    ("library", "dtype"),
    [*product(("cupy", "torch"), ("float32", "float64", "float16")), ("torch", "bfloat16")],
    indirect=["library"],
)
@pytest.mark.parametrize(("name", "setting"), ELEMENTWISE)
def test_elementwise_optimizers(library: str, name: str, setting: str, dtype: str) -> None:
    tx, params = build(name, setting), odd_tree(normal((name, setting), dtype))
    stream = gradients((name, setting), dtype, 5)
    if dtype == "float64" or (name in POWERS and dtype == "float32"):
        assert_near(library, tx, params, stream, MAGNIFIED.get(name, 8.0))
    elif name not in POWERS:
        assert_equal(library, tx, params, stream)


@pytest.mark.parametrize(("name", "setting"), [case for case in WITH_SUMS if case[0] != "muon"])
def test_optimizers_with_sums(library: str, name: str, setting: str) -> None:
    assert_near(library, build(name, setting), odd_tree(normal(name, "float32")), gradients(name, "float32", 5))


@pytest.mark.parametrize(("name", "setting"), [case for case in WITH_SUMS if case[0] == "muon"])
def test_matrix_products(library: str, name: str, setting: str) -> None:
    """In float64, whose roundings the iterations of muon magnify as well, but not to be seen."""
    tx, params, stream = build(name, setting), odd_tree(normal(name, "float64")), gradients(name, "float64", 3)
    expected = compiled(tx, copied(params), stream, 3)
    for pair in zip(walk(library, tx, params, stream), expected, strict=True):
        for x, y in zip(*map(uniopt.tree.leaves, pair), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["adamw", "lion", "noisy_sgd"])
def test_complex_leaves(library: str, name: str) -> None:
    tx, params, stream = build(name), odd_tree(normal(name, "complex64")), gradients(name, "complex64", 3)
    with np.errstate(invalid="ignore"):  # the sign of a complex 0
        expected = [copied(x) for x in compiled(tx, copied(params), stream, 3)]
    for pair in zip(walk(library, tx, params, stream), expected, strict=True):
        for x, y in zip(*map(uniopt.tree.leaves, pair), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "rprop"])
def test_large_leaves(library: str, name: str) -> None:
    assert_equal(library, build(name), leaves("large"), [leaves("gradients"), leaves("others")])


@pytest.mark.parametrize("name", ["lamb", "adafactor", "sm3"])
def test_sums_over_large_leaves(library: str, name: str) -> None:
    """Near to compiled NumPy, which adds up in float64 too, and the same every time."""
    tx, params, stream = build(name), leaves("large"), [leaves("gradients")] * 2
    found = list(walk(library, tx, params, stream))
    assert units(found[0], next(compiled(tx, copied(params), stream, 1))) <= 2
    assert_same_bits(list(walk(library, tx, params, stream)), found, "the same steps again")


def test_missing_gradients(library: str) -> None:
    params, grads = leaves("missing"), leaves("gradients")
    patterns: list[tuple[int, ...]] = [(), (0, 4), (), tuple(range(7)), (6,), (1,)]
    stream = [[None if i in none else g for i, g in enumerate(grads)] for none in patterns]
    assert_equal(library, build("adamw"), params, stream)


def test_kernels_are_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    from uniopt.backends import cupy as backend
    from uniopt.backends.fusion.cuda_arithmetic import PRELUDE

    body = 'extern "C" __global__ void kernel(const Index *table, const int *chunks) {}'
    backend._function(f"{PRELUDE}\n{body}\n")
    monkeypatch.setattr(backend, "translate", None)
    backend._function(f"{PRELUDE}\n{body}\n")(1, 0, 0)
    with pytest.raises(TypeError):
        backend._function(f"{PRELUDE}\n{body} // another one\n")
