"""The sizes: how many leaves, of which shapes. All leaves are float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Leaves = dict[str, np.ndarray]

SEED = 0


@dataclass(frozen=True)
class Size:
    """Named leaves and their shapes.

    Attributes
    ----------
    name
        What the command calls it.
    shapes
        The shape of each leaf.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def elements(self) -> int:
        """Return the number of elements of all leaves."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def nbytes(self) -> int:
        """Return the bytes of one copy of all leaves."""
        return 4 * self.elements

    def empty(self) -> Leaves:
        """Return arrays of these shapes, whatever they hold."""
        return {name: np.empty(shape, dtype=np.float32) for name, shape in self.shapes.items()}

    def params(self) -> Leaves:
        """Return the parameters that every side starts from."""
        return self._normals(0)

    def gradients(self, step: int) -> Leaves:
        """Return the gradients of a step, counted from 1."""
        return self._normals(step)

    def _normals(self, stream: int) -> Leaves:
        generator = np.random.default_rng([SEED, stream])
        return {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in self.shapes.items()}


def _equal(name: str, leaves: int, shape: tuple[int, ...]) -> Size:
    return Size(name, {f"leaf{i}": shape for i in range(leaves)})


def _gpt2() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of GPT-2 small (Radford et al. 2019), as its published weights name them."""
    width = 768
    yield "wte", (50257, width)
    yield "wpe", (1024, width)
    for i in range(12):
        for norm in ("ln_1", "ln_2"):
            yield f"h.{i}.{norm}.weight", (width,)
            yield f"h.{i}.{norm}.bias", (width,)
        for layer, inputs, outputs in (
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, 4 * width),
            ("mlp.c_proj", 4 * width, width),
        ):
            yield f"h.{i}.{layer}.weight", (inputs, outputs)
            yield f"h.{i}.{layer}.bias", (outputs,)
    yield "ln_f.weight", (width,)
    yield "ln_f.bias", (width,)


# Matrices, so that the optimizers that factor a second moment or multiply matrices do so.
SIZES = {
    size.name: size
    for size in (
        _equal("10", 1, (10,)),
        _equal("10x1e3", 10, (25, 40)),
        _equal("200x1e4", 200, (100, 100)),
        _equal("2e7", 1, (4000, 5000)),
        Size("gpt2", dict(_gpt2())),
    )
}
