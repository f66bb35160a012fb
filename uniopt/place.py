"""Where leaves live and what they are computed in; the scalars that they meet are brought there once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from uniopt.backends.dtypes import compute_dtype, dtype_kind, dtype_name, real_dtype
from uniopt.backends.protocol import Backend
from uniopt.errors import LeafError
from uniopt.typing import Array

NUMBERS = (int, float, complex)


def is_number(x: Any) -> bool:
    """Return whether `x` is a Python number; np.float64 is a float, but promotes like an array."""
    return isinstance(x, NUMBERS) and not hasattr(x, "dtype")


class Place:
    """The leaves of one compute dtype on one device, and the scalars that have been brought to them."""

    __slots__ = ("_brought", "backend", "device", "dtype", "like", "scalar_dtype")

    def __init__(self, backend: Backend, like: Array, dtype: Any) -> None:
        self.backend = backend
        self.like = like
        self.device = backend.device(like)
        self.dtype = dtype
        self.scalar_dtype = backend.dtype(real_dtype(dtype_name(dtype)))
        self._brought: list[tuple[Any, Any]] = []

    def bring(self, value: Any) -> Any:
        """Return a Python number as it is, and a 0-d array on this device in the dtype of its leaves (bool stays bool).

        A 0-d array of another dtype promotes differently in the operators and the functions of one library.
        """
        if is_number(value):
            return value
        for known, here in self._brought:  # not by id, which torch.compile would take for a constant
            if known is value:
                return here
        condition = dtype_kind(dtype_name(value.dtype)) == "boolean"
        near = value if condition else self.backend.astype(value, self.scalar_dtype)
        here = self.backend.place(near, self.like)
        self._brought.append((value, here))
        return here


def places_of(
    backend: Backend, leaves: Sequence[Any], path: Callable[[int], str], *, updated: bool
) -> list[Place | None]:
    """Return the place of each leaf, the same one for leaves that share it; LeafError if one cannot be optimized.

    Parameters
    ----------
    path
        Returns the expression that reaches a leaf, by its position.
    updated
        Whether the leaves are to be updated, which integers cannot.
    """
    known: list[tuple[Any, Place]] = []
    places: list[Place | None] = []
    for i, leaf in enumerate(leaves):
        if leaf is None:
            places.append(None)
            continue
        dtype, device = leaf.dtype, backend.device(leaf)
        for other, place in known:
            if other == dtype and place.device == device:
                break
        else:
            name = dtype_name(dtype)
            kind = dtype_kind(name)
            if kind is None or (updated and kind in ("integer", "boolean")):
                raise LeafError(
                    f"{path(i)} has dtype {dtype}, which cannot be optimized. Expected a real or complex "
                    "floating-point array; pass None as its gradient, or take it out of the tree."
                )
            place = Place(backend, leaf, dtype if compute_dtype(name) == name else backend.dtype(compute_dtype(name)))
            known.append((dtype, place))
        places.append(place)
    return places
