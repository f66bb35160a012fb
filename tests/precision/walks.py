"""The three ways of training in 16 bits, walked on any library in each of its modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import uniopt
from tests.conftest import require
from tests.fusion.walks import compiled, eager, normal, numpy_dtype

Tree = Any
LIBRARIES = ("numpy", "torch", "jax", "mlx")
"""Those with 16-bit floats; array-api-strict has none, and Dask's are NumPy's."""

WAYS: dict[str, Callable[[uniopt.GradientTransformation], uniopt.GradientTransformation]] = {
    "master_weights": uniopt.master_weights,
    "kahan_summation": lambda tx: uniopt.chain(tx, uniopt.kahan_summation()),
    "stochastic_rounding": lambda tx: uniopt.chain(tx, uniopt.stochastic_rounding(7)),
}
MODES = {"eager": eager, "compiled": compiled}


def start(dtype: str) -> Tree:
    return _tree(normal("parameters", dtype))


def stream(dtype: str, steps: int = 3) -> list[Tree]:
    draw = normal("gradients", dtype)
    return [_tree(draw) for _ in range(steps)]


def _tree(draw: Callable[..., Any]) -> Tree:
    return {"empty": draw(0, 3), "matrix": [draw(9, 7).T, None], "scalar": draw()}


def walked(
    name: str, tx: uniopt.GradientTransformation, params: Tree, grads: list[Tree], mode: str = "eager"
) -> Iterator[tuple[Tree, Tree]]:
    """Yield parameters and state after each step on a library, as float32 NumPy arrays where they are of 16 bits."""
    backend = require(name)

    def there(tree: Tree) -> Tree:
        return uniopt.tree.map(backend.from_numpy, tree)

    for pair in MODES[mode](tx, there(params), [there(g) for g in grads], len(grads)):
        yield uniopt.tree.map(lambda x: exact(backend.to_numpy(x)), pair)


def exact(x: Any) -> Any:
    """Return 16-bit floats as float32, which holds them exactly."""
    return x.astype(np.float32) if x.dtype in (np.float16, numpy_dtype("bfloat16")) else x


def rounded(x: Any, dtype: str) -> Any:
    """Return `x` rounded to the dtype, as float32."""
    return np.asarray(x, np.float32).astype(numpy_dtype(dtype)).astype(np.float32)


def repeated(tx: uniopt.GradientTransformation, params: Any, gradient: float, steps: int) -> Any:
    """Return NumPy parameters after some steps along one gradient."""
    step, state = uniopt.compile(tx), tx.init(params)
    for _ in range(steps):
        params, state = step(np.full_like(params, gradient), state, params)
    return params
