"""Leaves of every layout in memory: the same bits as eager NumPy, and nothing written beside the leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import uniopt
from tests.fusion.walks import DTYPES, assert_same_bits, build, compiled, copied, eager, normal, numpy_dtype

Placed = tuple[Any, Any]
"""An array, and the buffer that it is a part of."""


def _within(buffer: Any, view: Callable[[Any], Any]) -> Placed:
    return view(buffer), buffer


SHAPE = (4, 6)
LAYOUTS: dict[str, Callable[[Callable[..., Any]], Placed]] = {
    "contiguous": lambda make: _within(make(4, 6), lambda x: x),
    "transposed": lambda make: _within(make(6, 4), lambda x: x.T),
    "every other column": lambda make: _within(make(4, 12), lambda x: x[:, ::2]),
    "every other row, transposed": lambda make: _within(make(12, 4), lambda x: x[::2].T),
    "reversed": lambda make: _within(make(4, 6), lambda x: x[::-1, ::-1]),
    "rows reversed": lambda make: _within(make(8, 6), lambda x: x[::-2]),
    "inside": lambda make: _within(make(6, 9), lambda x: x[1:-1, 2:-1]),
    "of three axes": lambda make: _within(make(6, 1, 4), lambda x: x.transpose(2, 0, 1)[..., 0]),
    "not aligned": lambda make: _misaligned(make(4, 6)),
}
READ_ONLY: dict[str, Callable[[Callable[..., Any]], Placed]] = {
    "a row for all": lambda make: _within(make(6), lambda x: np.broadcast_to(x, SHAPE)),
    "a column for all": lambda make: _within(make(4, 1), lambda x: np.broadcast_to(x, SHAPE)),
    "one number": lambda make: _within(make(), lambda x: np.broadcast_to(x, SHAPE)),
}


def _misaligned(x: Any) -> Placed:
    """Return the array one byte beside where its dtype would stand."""
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    view = buffer[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view, buffer


class Model(NamedTuple):
    w: Any
    rest: list[Any]


QUICK = {("contiguous", "float64"), ("transposed", "float16"), ("reversed", "bfloat16"), ("not aligned", "complex64")}


@pytest.mark.parametrize(
    ("layout", "dtype"),
    [
        pytest.param(layout, dtype, marks=() if dtype == "float32" or (layout, dtype) in QUICK else pytest.mark.wide)
        for layout in LAYOUTS
        for dtype in DTYPES
    ],
)
@pytest.mark.parametrize("gradient", [*LAYOUTS, *READ_ONLY])
def test_numpy(layout: str, gradient: str, dtype: str) -> None:
    make = normal((layout, gradient), dtype)
    tx = build("adamw", "decay")
    w, buffer = LAYOUTS[layout](make)
    before, original = buffer.copy(), w.copy()
    params = Model(w, [make(3)])
    stream = [Model((LAYOUTS | READ_ONLY)[gradient](make)[0], [make(3)]) for _ in range(3)]
    for k, pair in enumerate(zip(compiled(tx, params, stream, 3), eager(tx, copied(params), stream, 3), strict=True)):
        assert_same_bits(*pair, f"step {k}")
        assert pair[0][0].w is w
    assert w.tobytes() != original.tobytes()
    w[...] = original
    assert buffer.tobytes() == before.tobytes()  # nothing beside the leaf has been written


TORCH_LAYOUTS = {
    "contiguous": lambda x: x.clone(),
    "transposed": lambda x: x.T.contiguous().T,
    "every other column": lambda x: torch.repeat_interleave(x, 2, 1)[:, ::2],
    "inside": lambda x: torch.nn.functional.pad(x.float(), (1, 2, 3, 1)).to(x.dtype)[3:-1, 1:-2],
    "of three axes": lambda x: x.T.unsqueeze(1).contiguous().permute(2, 1, 0)[:, 0],
}
TORCH_READ = {
    **TORCH_LAYOUTS,
    "a row for all": lambda x: x[:1].expand(SHAPE),
    "one number": lambda x: x[0, 0].expand(SHAPE),
    "negated": lambda x: torch.complex(torch.zeros(SHAPE), x.float()).conj().imag,
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("gradient", TORCH_READ)
@pytest.mark.parametrize("layout", TORCH_LAYOUTS)
def test_torch(layout: str, gradient: str, dtype: str) -> None:
    draw = normal((layout, gradient), "float32")

    def make(layouts: dict[str, Callable[[torch.Tensor], torch.Tensor]], name: str) -> torch.Tensor:
        x = layouts[name](torch.from_numpy(draw(*SHAPE)).to(getattr(torch, dtype)))
        assert x.shape == SHAPE
        return x

    params, grads = [make(TORCH_LAYOUTS, layout)], [[make(TORCH_READ, gradient)] for _ in range(3)]

    def array(x: torch.Tensor) -> Any:
        return np.array(x.float().resolve_neg().numpy()).astype(numpy_dtype(str(x.dtype).removeprefix("torch.")))

    tx = build("adamw", "decay")
    expected, expected_state = uniopt.tree.map(array, params), tx.init(uniopt.tree.map(array, params))
    state, step = tx.init(params), uniopt.compile(tx)
    for k, g in enumerate(grads):
        updates, expected_state = tx.update(uniopt.tree.map(array, g), expected_state, expected)
        expected = uniopt.apply_updates(expected, updates)
        params, state = step(g, state, params)
        assert_same_bits((params, state), (expected, expected_state), f"step {k}")
