"""Walks on a CUDA device, on CuPy's arrays and on torch's tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import uniopt
from tests.fusion.walks import assert_same_bits, compiled, copied, in_numpy, in_torch, normal

REASON = uniopt.backends.why_unavailable("cupy")
NEEDS_CUDA = pytest.mark.skipif(REASON is not None, reason=f"NOT RUN: {REASON}")


def put(library: str, tree: Any) -> Any:
    """Return a tree of NumPy's arrays as one of copies on the device, with the same order of elements in memory."""
    if library == "torch":
        return uniopt.tree.map(lambda x: x.to("cuda"), in_torch(tree))
    import cupy

    return uniopt.tree.map(lambda x: cupy.array(x, order="K"), tree)


def get(library: str, tree: Any) -> Any:
    """Return a tree of arrays on the device as one of NumPy's, bfloat16 as its bits."""
    if library == "torch":
        return uniopt.tree.map(lambda x: in_numpy(x.cpu()), tree)
    import cupy

    return uniopt.tree.map(cupy.asnumpy, tree)


def walk(library: str, tx: uniopt.GradientTransformation, params: Any, stream: list[Any]) -> Iterator[Any]:
    """Yield ``(params, state)`` after each compiled step on a device, as NumPy's arrays."""
    on_device = [put(library, grads) for grads in stream]
    for after in compiled(tx, put(library, params), on_device, len(stream)):
        yield get(library, after)


def assert_equal(library: str, tx: uniopt.GradientTransformation, params: Any, stream: list[Any]) -> None:
    expected = compiled(tx, copied(params), stream, len(stream))
    for k, pair in enumerate(zip(walk(library, tx, params, stream), expected, strict=True), 1):
        assert_same_bits(*pair, f"step {k}")


def leaves(name: str, dtype: str = "float32") -> list[Any]:
    """Return leaves of all sizes, the largest one of thousands of blocks."""
    make = normal(name, dtype)
    return [make(n) for n in (1, 8191, 8193)] + [make(300, 257).T, make(3_000_001), make(0, 2), make()]
