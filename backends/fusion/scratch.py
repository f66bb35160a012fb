"""A device, as programs see it, and its memory for what loops leave to other loops of the same step."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import numpy as np

_KEPT = 2**20  # bytes: more is asked for in each step, so that others can have it in between


class Device(Protocol):
    """A device, and the library whose arrays live there. All work is put in a queue, in order."""

    xp: Any
    """The library's Array API namespace."""

    def load(self, source: str) -> Callable[[int, int, int], None]:
        """Return a kernel: called with a number of blocks, and the addresses of the table and of the chunks."""
        ...

    def empty(self, size: int) -> Any:
        """Return an array of that many bytes, to be written to."""
        ...

    def upload(self, x: np.ndarray[Any, Any]) -> Any:
        """Return a copy of an array of the host's."""
        ...

    def address(self, x: Any) -> int:
        """Return where an array's first element lies."""
        ...

    def queue(self) -> Hashable:
        """Return what tells the current queue from other ones."""
        ...


class Scratch:
    """Memory for one step after the other.

    What is little stays the same, for tables that name its address are uploaded anew when that changes. It belongs to
    one queue, in which the steps follow each other.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._queue: Hashable = None
        self._kept: Any = None

    def of(self, size: int) -> Any:
        """Return an array of so many bytes, the same number in every call."""
        if size > _KEPT:
            return self._device.empty(size)
        queue = self._device.queue()
        if self._kept is None or queue != self._queue:
            self._queue, self._kept = queue, self._device.empty(size)
        return self._kept
