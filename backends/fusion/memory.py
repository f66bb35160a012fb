"""How arrays lie in the host's memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Protocol

import numpy as np
from uniopt.backends.dtypes import dtype_name

Range = tuple[int, int]

# `x.ctypes.data` takes longer than the arithmetic on a small leaf. The pointer to the elements is the first field of
# NumPy's array object, after Python's own header; its place has been part of NumPy's binary interface since 1.0.
_POINTER = object.__basicsize__
_read = ctypes.c_size_t.from_address


def address(x: np.ndarray[Any, Any]) -> int:
    """Return where the first element of a NumPy array lies."""
    return _read(id(x) + _POINTER).value


def _slow_address(x: np.ndarray[Any, Any]) -> int:
    return int(x.ctypes.data)


_probe = np.empty(1)
if address(_probe) != _slow_address(_probe):  # an implementation of Python with other headers
    address = _slow_address


def number_at(place: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return the number at an address as a 0-d array; it does not keep the memory from being freed."""
    return np.ndarray((), dtype, memoryview((ctypes.c_char * dtype.itemsize).from_address(place)))


class Memory(Protocol):
    """What compiled steps need to know of a library's arrays."""

    sharded: bool
    """Whether arrays are parts of larger ones, so that sums over them mean nothing."""

    has_float64: bool
    """Whether there is float64 where the arrays are."""

    def holds(self, x: Any) -> bool:
        """Return whether it is an array of the library."""
        ...

    def out_of_reach(self, x: Any) -> str | None:
        """Return why programs cannot read the array's memory, or None if they can."""
        ...

    def resolved(self, arrays: list[Any]) -> list[Any]:
        """Return the arrays with their elements in memory as they are; what is no array stays."""
        ...

    def untracked(self) -> AbstractContextManager[Any]:
        """Return a context in which no operation is recorded for gradients."""
        ...

    def congruent(self, kept: list[Any], given: list[Any], parameters: Mapping[int, int]) -> bool:
        """Return whether parts of arrays belong together: each gradient's to its parameter's, and so on."""
        ...

    def whole_shape(self, x: Any) -> tuple[int, ...]:
        """Return the shape of the array that `x` is a part of."""
        ...

    def signatures(self, arrays: list[Any]) -> Any:
        """Return what of each array decides about the program: shape, strides and dtype; a tuple that is hashable.

        It may have one thing of all arrays after the other: it is quicker to compare than a tuple for each array.
        """
        ...

    def guard(self, arrays: list[Any]) -> Callable[[list[Any]], bool] | None:
        """Return what tells quickly whether arrays are like these and `resolved`; None where nothing does.

        What decides about the program, and what `places` has but for addresses, is the same if it says so. It may be
        strict, and say no for other reasons.
        """
        ...

    def shape(self, x: Any) -> tuple[int, ...]:
        """Return the shape."""
        ...

    def dtype(self, x: Any) -> str:
        """Return the standard's name of the dtype."""
        ...

    def strides(self, x: Any) -> tuple[int, ...]:
        """Return the bytes between elements along each axis."""
        ...

    def addresses(self, arrays: list[Any]) -> list[int]:
        """Return where each array's first element lies."""
        ...

    def places(self, arrays: list[Any]) -> Any:
        """Return what tells whether arrays that somebody holds lie as they did; None where nothing can change that."""
        ...

    def extent(self, x: Any) -> Range:
        """Return the addresses of the first byte and of the one behind the last; twice the same for an empty array."""
        ...

    def view(self, x: Any) -> np.ndarray[Any, Any]:
        """Return the array as one of NumPy that shares its memory; bfloat16 as uint16."""
        ...

    def repeated(self, x: Any, n: int) -> Any:
        """Return a view that has the array n times, along a new first axis."""
        ...

    def copy(self, x: Any) -> Any:
        """Return a copy, an array of its own."""
        ...

    def replaces(self, value: Any, x: Any) -> bool:
        """Return whether `x` can hold the elements of `value`, which may be anything, as they are."""
        ...

    def assign(self, x: Any, value: Any) -> None:
        """Write the elements of another array into an array."""
        ...

    def refusal(self, x: Any) -> str | None:
        """Return why the array cannot be written to, or None if it can."""
        ...

    def watched(self, arrays: list[Any]) -> list[Any]:
        """Return whose writing the library has to be told of."""
        ...

    def written(self, watched: list[Any]) -> None:
        """Be told that arrays have been written to."""
        ...

    def threads(self) -> int:
        """Return how many threads the library may use."""
        ...


class NumpyMemory:
    """NumPy's arrays."""

    sharded = False
    has_float64 = True

    def holds(self, x: Any) -> bool:
        return isinstance(x, np.ndarray | np.generic)

    def out_of_reach(self, x: Any) -> str | None:
        return None

    def resolved(self, arrays: list[Any]) -> list[Any]:
        return arrays

    def untracked(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def congruent(self, kept: list[Any], given: list[Any], parameters: Mapping[int, int]) -> bool:
        return True

    def shape(self, x: Any) -> tuple[int, ...]:
        shape: tuple[int, ...] = x.shape
        return shape

    whole_shape = shape

    def signatures(self, arrays: list[Any]) -> Any:
        return tuple([(x.shape, x.strides, x.dtype) for x in arrays])

    def guard(self, arrays: list[Any]) -> None:
        return None

    def dtype(self, x: Any) -> str:
        return dtype_name(x.dtype)

    def strides(self, x: Any) -> tuple[int, ...]:
        strides: tuple[int, ...] = x.strides
        return strides

    def addresses(self, arrays: list[Any]) -> list[int]:
        return [address(x) for x in arrays]

    def places(self, arrays: list[Any]) -> None:
        return None

    def extent(self, x: Any) -> Range:
        return extent(address(x), x.shape, x.strides, x.itemsize)

    def view(self, x: Any) -> Any:
        return x.view(np.uint16) if x.dtype.itemsize == 2 and x.dtype != np.float16 else x

    def repeated(self, x: Any, n: int) -> Any:
        return np.broadcast_to(x, (n, *x.shape))

    def copy(self, x: Any) -> Any:
        return np.array(x)

    def replaces(self, value: Any, x: Any) -> bool:
        return not isinstance(x, np.generic) and fits(value, x)

    def assign(self, x: Any, value: Any) -> None:
        np.copyto(x, value)

    def refusal(self, x: Any) -> str | None:
        if not x.flags.writeable:
            return "is read-only"
        return "has elements that share memory" if repeats(x.shape, x.strides) else None

    def watched(self, arrays: list[Any]) -> list[Any]:
        return []

    def written(self, watched: list[Any]) -> None:
        pass

    def threads(self) -> int:
        return _available_threads()


@cache
def _available_threads() -> int:
    """Return how many threads numerical libraries may use in this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(asked), cores)) if asked.isdigit() else cores


def extent(start: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Range:
    """Return the addresses of the first byte of an array and of the one behind its last; empty for an empty array."""
    if 0 in shape:
        return start, start
    first = last = start
    for n, step in zip(shape, strides, strict=True):
        if step < 0:
            first += (n - 1) * step
        else:
            last += (n - 1) * step
    return first, last + itemsize


def repeats(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Return whether several elements of an array lie in the same place, because it has been broadcast."""
    return 0 not in shape and any(n > 1 and step == 0 for n, step in zip(shape, strides, strict=True))


def fits(value: Any, x: Any) -> bool:
    """Return whether something is an array of the same shape and dtype as another one."""
    return hasattr(value, "shape") and bool(value.shape == x.shape and value.dtype == x.dtype)
