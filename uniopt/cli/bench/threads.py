"""How many threads every side may use."""

from __future__ import annotations

import os

# Read by OpenMP (torch) and by uniopt's own kernels, and by XLA's client when it starts.
_VARIABLES = ("OMP_NUM_THREADS", "NPROC")
_TOLERANCE = 0.2  # cores


def prescribe(threads: int) -> dict[str, str]:
    """Set the number of threads of the libraries that are loaded from now on, and return the variables that do it."""
    variables = dict.fromkeys(_VARIABLES, str(threads))
    os.environ.update(variables)
    return variables


def doubt(threads: int, cores: list[float]) -> str:
    """Return what is wrong if a side has kept more cores busy than it was given threads, and than the other.

    JAX computes in a thread of its own, while Python prepares the next step, on both sides.
    """
    if max(cores) <= threads + _TOLERANCE or max(cores) - min(cores) <= _TOLERANCE:
        return ""
    busy = " and ".join(f"{n:.1f}" for n in cores)
    return f"the sides kept {busy} cores busy, with --threads {threads}"
