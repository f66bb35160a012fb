"""What the suite needs of one framework: its own optimizers to compare with, and how to set it up.

Only the files in this folder import a framework. Each may define ``session(dtype)``, a context manager in which the
library computes in that data type; ``settle(tree)``, which computes what it has put off; ``compilations()``, how many
programs it has compiled; and, for an oracle, ``covers(case)``, whether the framework has an optimizer of the same
formula, and ``trajectory(case)``, the path of that in float64.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

ORACLES = ("optax", "torch")
"""The libraries whose own optimizers serve as oracles."""

_SETUPS = ("jax", "mlx", "dask", "torch")


def oracle(library: str) -> ModuleType | None:
    """Return the module with a library's own optimizers, or None where the library is not installed."""
    return import_module(f"uniopt.conformance.peers.{library}") if find_spec(library) is not None else None


def setup(library: str) -> ModuleType | None:
    """Return the module that sets a library up, or None where there is nothing to set up."""
    return import_module(f"uniopt.conformance.peers.{library}") if library in _SETUPS else None
