"""Optimizers on trees of odd leaves, walked eagerly and compiled, and compared bit for bit or in the error unit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import torch
from uniopt.conformance.settings import REAL_ONLY, SETTINGS, Written

import uniopt

Tree = Any
DTYPES = ("float32", "float64", "float16", "bfloat16", "complex64")
REDUCING = {"adafactor", "fromage", "lamb", "lars", "muon", "novograd", "polyak_sgd"}
"""The optimizers in which an element depends on the other ones of its leaf or of the tree."""
ELEMENTWISE = [(name, setting) for name in SETTINGS if name not in REDUCING for setting in SETTINGS[name]]
WITH_SUMS = [(name, setting) for name in sorted(REDUCING) for setting in SETTINGS[name]]


def takes(name: str, dtype: str) -> bool:
    """Return whether an optimizer, or its rule alone, takes parameters of a dtype."""
    return dtype != "complex64" or name.removeprefix("scale_by_") not in REAL_ONLY


def build(name: str, setting: str | None = None) -> uniopt.GradientTransformation:
    """Return an optimizer with hyperparameters of the conformance suite, the first ones unless others are named."""
    hyper = SETTINGS[name][setting or next(iter(SETTINGS[name]))]
    make = getattr(uniopt, name)
    tx: uniopt.GradientTransformation = make(
        **{key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()}
    )
    return tx


def numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def normal(seed: object, dtype: str) -> Callable[..., Any]:
    """Return a function of a shape that draws normal numbers."""
    rng = np.random.default_rng(zlib.crc32(repr(seed).encode()))

    def draw(*shape: int) -> Any:
        x = rng.standard_normal(shape)
        return np.asarray(x + 1j * rng.standard_normal(shape) if "complex" in dtype else x).astype(numpy_dtype(dtype))

    return draw


def odd_tree(make: Callable[..., Any]) -> Tree:
    """Return a tree with an empty, a 4-D, a transposed and a 0-d leaf, and lengths that no vector divides."""
    return {
        "empty": make(0, 3),
        "kernel": [make(2, 3, 2, 2), None],
        "matrix": make(9, 7).T,
        "scalar": make(),
        "vector": (make(7), make(3)),
    }


def gradients(seed: object, dtype: str, steps: int) -> list[Tree]:
    """Return a tree of gradients for each step; an eighth of the elements is 0."""
    draw, chance = normal(("gradients", seed), dtype), normal(("zeros", seed), "float64")

    def make(*shape: int) -> Any:
        x = draw(*shape)
        return np.asarray(np.where(chance(*shape) > -1.15, x, np.zeros_like(x)))

    return [odd_tree(make) for _ in range(steps)]


def in_torch(tree: Tree) -> Tree:
    """Return a tree of NumPy arrays as one of tensors, copies with the same strides."""
    return uniopt.tree.map(tensor, tree)


def tensor(x: Any) -> torch.Tensor:
    """Return a copy of an array as a tensor with the same strides."""
    half = x.dtype == ml_dtypes.bfloat16
    found = torch.from_numpy(np.array(x.view(np.int16) if half else x))
    return found.view(torch.bfloat16) if half else found


def copied(tree: Tree) -> Tree:
    return uniopt.tree.map(np.array, tree)


def in_numpy(x: Any) -> Any:
    """Return a leaf as a NumPy array, bfloat16 as its bits."""
    if not isinstance(x, torch.Tensor):
        return np.asarray(x).view(np.uint16) if np.asarray(x).dtype == ml_dtypes.bfloat16 else np.asarray(x)
    x = x.detach()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def eager(
    tx: uniopt.GradientTransformation, params: Tree, stream: list[Tree], steps: int
) -> Iterator[tuple[Tree, Tree]]:
    """Yield ``(params, state)`` after each step of ``tx.update`` and ``apply_updates``."""
    state = tx.init(params)
    for k in range(steps):
        updates, state = tx.update(stream[k % len(stream)], state, params, value=objective(k))
        params = uniopt.apply_updates(params, updates)
        yield params, state


def compiled(
    tx: uniopt.GradientTransformation, params: Tree, stream: list[Tree], steps: int
) -> Iterator[tuple[Tree, Tree]]:
    """Yield ``(params, state)`` after each step of ``uniopt.compile(tx)``."""
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(steps):
        params, state = step(stream[k % len(stream)], state, params, value=objective(k))
        yield params, state


def objective(k: int) -> float:
    """Return what the objective is said to be in a step, for the optimizers that ask for it."""
    return 2.0 + (-0.75) ** k


def assert_same_bits(found: Tree, expected: Tree, where: object) -> None:
    """Fail unless two trees have the same bits in every leaf; any NaN is the same as any other."""
    theirs = uniopt.tree.leaves_with_paths(expected, "")
    for x, (path, y) in zip(uniopt.tree.leaves(found), theirs, strict=True):
        a, b = in_numpy(x), in_numpy(y)
        assert a.shape == b.shape, f"{where}: {path} has shape {a.shape}, expected {b.shape}"
        assert a.dtype == b.dtype, f"{where}: {path} has dtype {a.dtype}, expected {b.dtype}"
        if a.tobytes() != b.tobytes():
            wrong = _bits(a) != _bits(b)
            assert not wrong.any(), f"{where}: {path} is {a[wrong][:3]}, expected {b[wrong][:3]}"


def _bits(x: Any) -> Any:
    """Return for each element an integer that tells it from all others."""
    if x.dtype.kind == "c":
        return _bits(x.real) + 3 * _bits(x.imag)
    if x.dtype.kind != "f":
        return x
    kind = np.dtype(f"u{x.dtype.itemsize}")
    return np.where(np.isnan(x), np.iinfo(kind).max, np.ascontiguousarray(x).reshape(x.shape).view(kind))


def assert_near(
    run: Callable[..., tuple[Tree, Tree]],
    tx: uniopt.GradientTransformation,
    params: Tree,
    stream: list[Tree],
    bound: float = 2.0,
) -> None:
    """Fail unless each of the steps that `run` takes, from the same parameters and state, is near to the eager one."""
    state = tx.init(params)
    for k, grads in enumerate(stream):
        found, found_state = run(grads, state, params, value=objective(k))
        updates, state = tx.update(grads, state, params, value=objective(k))
        params = uniopt.apply_updates(params, updates)
        assert units(found, params) <= bound, f"step {k}"
        assert units(found_state, state) <= 2 * bound, f"step {k}"


def units(found: Any, expected: Any) -> float:
    """Return the largest difference, in ulp of the largest value of its leaf."""
    worst = 0.0
    for x, (path, y) in zip(uniopt.tree.leaves(found), uniopt.tree.leaves_with_paths(expected, ""), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype), path
        if y.dtype.kind != "f":
            assert np.array_equal(x, y), path
        elif y.size:
            distance = np.max(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)))
            worst = max(worst, float(distance / np.spacing(np.max(np.abs(y)))))
    return worst
