"""The conformance suite: evidence that every optimizer, and all that is chained around one, walks the same path.

A problem (parameters and recorded gradients) and an optimizer's hyperparameters make a case; a case on a library, a
device, a data type and a mode is a cell. Each cell is compared with oracles: naive float64 loops, NumPy, and the
frameworks' own optimizers; and gets one of five verdicts. Run it with ``uniopt conformance``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uniopt.conformance.cells import Selection as Selection
    from uniopt.conformance.record import Record as Record
    from uniopt.conformance.suite import ConformanceError as ConformanceError
    from uniopt.conformance.suite import check as check
    from uniopt.conformance.suite import run as run

_HOMES = {"Selection": "cells", "Record": "record", "ConformanceError": "suite", "check": "suite", "run": "suite"}

__all__ = ["ConformanceError", "Record", "Selection", "check", "run"]


def __getattr__(name: str) -> Any:
    # The parts load NumPy and the problems, which whoever only imports the package does not need.
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
