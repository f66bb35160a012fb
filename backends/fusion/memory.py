"""How arrays lie in the host's memory."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

# `x.ctypes.data` takes longer than the arithmetic on a small leaf. The pointer to the elements is the first field of
# NumPy's array object, after Python's own header; its place has been part of NumPy's binary interface since 1.0.
_POINTER = object.__basicsize__
_read = ctypes.c_size_t.from_address


def address(x: np.ndarray[Any, Any]) -> int:
    """Return where the first element of a NumPy array lies."""
    return _read(id(x) + _POINTER).value


_probe = np.empty(1)
if address(_probe) != _probe.ctypes.data:  # another implementation of Python

    def address(x: np.ndarray[Any, Any]) -> int:
        """Return where the first element of a NumPy array lies."""
        return int(x.ctypes.data)


class Memory(Protocol):
    """What the programs need to know of a library's arrays."""

    def signature(self, x: Any) -> Any:
        """Return what of an array decides about the program: shape, strides and dtype; hashable."""
        ...

    def dtype(self, x: Any) -> str:
        """Return the standard's name of the dtype."""
        ...

    def strides(self, x: Any) -> tuple[int, ...]:
        """Return the bytes between elements along each axis."""
        ...

    def address(self, x: Any) -> int:
        """Return where the first element lies."""
        ...

    def view(self, x: Any) -> Any:
        """Return the array as one of NumPy that shares its memory; bfloat16 as uint16."""
        ...

    def copy(self, x: Any) -> Any:
        """Return a copy, contiguous."""
        ...

    def refusal(self, x: Any) -> str | None:
        """Return why the array cannot be written to, or None if it can."""
        ...

    def written(self, arrays: Iterable[Any]) -> None:
        """Be told which arrays have been written to."""
        ...

    def threads(self) -> int:
        """Return how many threads the library may use."""
        ...


class NumpyMemory:
    """NumPy's arrays."""

    def signature(self, x: Any) -> Any:
        return x.shape, x.strides, x.dtype

    def dtype(self, x: Any) -> str:
        return str(x.dtype)

    def strides(self, x: Any) -> tuple[int, ...]:
        strides: tuple[int, ...] = x.strides
        return strides

    def address(self, x: Any) -> int:
        return address(x)

    def view(self, x: Any) -> Any:
        return x.view(np.uint16) if x.dtype.name == "bfloat16" else x

    def copy(self, x: Any) -> Any:
        return np.array(x)

    def refusal(self, x: Any) -> str | None:
        return None if x.flags.writeable else "is read-only"

    def written(self, arrays: Iterable[Any]) -> None:
        pass

    def threads(self) -> int:
        return available_threads()


def available_threads() -> int:
    """Return how many threads numerical libraries may use here."""
    import os

    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(int(asked), cores) if asked.isdigit() and int(asked) else cores


def overlapping(ranges: Sequence[tuple[int, int]]) -> bool:
    """Return whether any two of these ranges of addresses share a byte."""
    ordered = sorted(ranges)
    return any(first[1] > second[0] for first, second in zip(ordered, ordered[1:], strict=False))
