"""What the suite needs of one framework: its own optimizers to compare with, and how to set it up.

Only the files in this folder import a framework. Each may define

- ``session(dtype)``, a context manager in which the library computes in that data type;
- ``settle(tree)``, which computes what it has put off; ``compilations()``, how many programs it has compiled;
- ``vmap``, ``scan`` and ``shares(device)``, for the modes of these names, and ``why_unavailable(mode, device)``;
- ``PERSONALITIES``, other ways of using it, by name;
- for an oracle, ``covers(case)``, whether the framework has an optimizer of the same formula, and ``trajectory(case)``,
  the path of that in float64.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

ORACLES = ("optax", "torch", "mlx", "keras")
"""The libraries whose own optimizers serve as oracles."""

NEEDED = {"vmap": "vmap", "scan": "scan", "sharded": "shares"}
"""What a library's module must have for a mode."""

_RUNS_ON = {"keras": ("torch",)}
"""What an oracle needs besides itself."""

_SETUPS = ("numpy", "array_api_strict", "jax", "mlx", "dask", "torch")


def oracle(library: str) -> ModuleType | None:
    """Return the module with a library's own optimizers, or None where the library is not installed."""
    return None if why_absent(library) else import_module(f"uniopt.conformance.peers.{library}")


def why_absent(library: str) -> str:
    """Return why a library cannot be an oracle, or the empty string."""
    for needed in (library, *_RUNS_ON.get(library, ())):
        if find_spec(needed) is None:
            return f"{needed} is not installed"
    if library == "keras" and (chosen := os.environ.get("KERAS_BACKEND", "torch")) != "torch":
        return f"keras is set to run on {chosen}, and is compared with where it runs on torch"
    return ""


def has(library: str, mode: str) -> bool:
    """Return whether a library has what a mode needs."""
    return mode not in NEEDED or hasattr(setup(library), NEEDED[mode])


def prepare() -> None:
    """Let JAX find several devices in a CPU, which it does only if it is told before it starts."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "jax" not in sys.modules and "xla_force_host_platform_device_count" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=4".strip()


def setup(library: str) -> ModuleType | None:
    """Return the module that sets a library up, or None where there is nothing to set up."""
    return import_module(f"uniopt.conformance.peers.{library}") if library in _SETUPS else None
