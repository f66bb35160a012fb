"""A step that cannot be compiled: it runs as it is, and its results take the places of what they replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from uniopt.backends.errors import NotWritableError
from uniopt.backends.fusion.memory import Memory


class EagerStep:
    """A step without a program.

    Parameters
    ----------
    step
        ``step(kept, donated)`` returns new values of `donated`.
    memory
        How the library's arrays lie in memory.
    donate
        Whether the results are written into `donated`.
    """

    def __init__(self, step: Callable[[list[Any], list[Any]], list[Any]], memory: Memory, *, donate: bool) -> None:
        self._step = step
        self._memory = memory
        self._donate = donate

    def __call__(self, kept: list[Any], donated: list[Any]) -> list[Any]:
        results = self._step(kept, donated)
        if not self._donate:
            return results
        written = [self._memory.replaces(y, x) for x, y in zip(donated, results, strict=True)]
        for i, x in enumerate(donated):
            if written[i] and (reason := self._memory.refusal(x)) is not None:
                raise NotWritableError(i, reason)
        results = self._apart(results, [x for x, own in zip(donated, written, strict=True) if own])
        for x, y, own in zip(donated, results, written, strict=True):
            if own:
                self._memory.assign(x, y)
        if all(written):
            return donated
        return [x if own else y for x, y, own in zip(donated, results, written, strict=True)]

    def _apart(self, results: list[Any], targets: list[Any]) -> list[Any]:
        """Return the results, copied where they are views of what is about to be overwritten."""
        extents = np.array([self._memory.extent(x) for x in targets], dtype=np.int64).reshape(-1, 2)

        def meets(y: Any) -> bool:
            start, stop = self._memory.extent(y)
            return bool(((extents[:, 0] < stop) & (start < extents[:, 1])).any())

        return [self._memory.copy(y) if hasattr(y, "shape") and meets(y) else y for y in results]
