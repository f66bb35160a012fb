"""The array libraries as the benchmark uses them, and the optimizers that they bring.

Only the files in this folder import a framework. One named after an array library has its `Library`, the class
``Arrays``; the sides that uniopt is compared with are classes too: ``torch.Optimizer`` and ``optax.Jitted``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from uniopt.typing import Tree

Array = Any


class Library(Protocol):
    """How the arrays of a library are made and read, on one device."""

    xp: Any

    def put(self, x: np.ndarray) -> Array:
        """Return a NumPy array in this library, without a copy where that is possible."""

    def parameter(self, x: np.ndarray) -> Array:
        """Return a copy that a step may overwrite, of the kind that users of the library train."""

    def get(self, x: Array) -> np.ndarray:
        """Return the values, without a copy where that is possible."""

    def finish(self, results: Tree) -> None:
        """Wait until all arrays of a tree are computed."""

    def limit(self, threads: int) -> str:
        """Let the library use so many threads from now on, and return what it says about them."""


def library(name: str, device: str = "cpu") -> Library:
    """Return an array library, which is installed, on a device that it has."""
    return cast(Library, import_module(f"uniopt.cli.bench.peers.{name}").Arrays(device))
