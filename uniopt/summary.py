"""What a state consists of, as a table: slots, shapes, dtypes, bytes and devices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_kind, dtype_name, itemsize
from uniopt.backends.protocol import Backend
from uniopt.keys import Key, children, slot, written
from uniopt.typing import Tree

_HEADINGS = ("slot", "arrays", "shapes", "dtypes", "bytes", "devices")
_WRITTEN_OUT = 4  # of different shapes, dtypes or devices


@dataclass(frozen=True)
class LeafSummary:
    """One array.

    Attributes
    ----------
    path
        Where it stands, such as ``[0]ScaleByAdamState.mu['w']``.
    slot
        The part of the path down to the last field of a state; the whole path where there is none.
    shape, dtype, device
        Its own. The device is empty where an array has none, under tracing for example.
    bytes
        The size of all its elements, on all devices.
    """

    path: str
    slot: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    device: str


@dataclass(frozen=True)
class Summary:
    """The arrays of a state; as text a table with a row for each slot.

    Attributes
    ----------
    leaves
        A `LeafSummary` for each array.
    """

    leaves: tuple[LeafSummary, ...]

    @property
    def bytes(self) -> int:
        """The bytes of all arrays."""
        return sum(leaf.bytes for leaf in self.leaves)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of the table as texts: the headings, one for each slot, the total."""
        slots: dict[str, list[LeafSummary]] = {}
        for leaf in self.leaves:
            slots.setdefault(leaf.slot, []).append(leaf)
        return [_HEADINGS, *(_row(*item) for item in slots.items()), _row("total", self.leaves, shapes=False)]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(_aligned, _HEADINGS, row, widths)).rstrip() for row in rows]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def summary(state: Tree) -> Summary:
    """Return what a state, or any other tree of arrays, consists of.

    Parameters
    ----------
    state
        A state of uniopt or optax, of any library's arrays. Traced ones will do.

    Returns
    -------
    Summary
        Prints as a table with a row for each slot; its `leaves` have every array.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> params = {"w": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)}
    >>> print(uniopt.summary(uniopt.adam(1e-3).init(params)))
    slot                       arrays  shapes           dtypes          bytes  devices
    ----------------------------------------------------------------------------------
    [0]ScaleByAdamState.count       1  ()               int32               4  cpu
    [0]ScaleByAdamState.mu          2  (10,), (64, 10)  float32         2,600  cpu
    [0]ScaleByAdamState.nu          2  (10,), (64, 10)  float32         2,600  cpu
    ----------------------------------------------------------------------------------
    total                           5                   int32, float32  5,204  cpu
    """
    return Summary(tuple(_leaves((), state)))


def _leaves(path: tuple[Key, ...], node: Tree) -> list[LeafSummary]:
    found = registry.find(type(node))
    if found is None:
        return [leaf for step, child in children(node) for leaf in _leaves((*path, step), child)]
    shape, dtype = tuple(node.shape), dtype_name(node.dtype)
    in_slot = written(slot(path) or path)
    return [LeafSummary(written(path), in_slot, shape, dtype, _bytes(node, shape, dtype), _device(found, node))]


def _bytes(x: Any, shape: tuple[int, ...], dtype: str) -> int:
    return int(x.nbytes) if dtype_kind(dtype) is None else math.prod(shape) * itemsize(dtype)


def _device(backend: Backend, x: Any) -> str:
    device = backend.device(x)
    members = [] if device is None else getattr(device, "device_set", [device])  # JAX has a sharding
    return ", ".join(sorted(map(str, members)))


def _aligned(heading: str, cell: str, width: int) -> str:
    return cell.rjust(width) if heading in ("arrays", "bytes") else cell.ljust(width)


def _row(slot: str, leaves: Sequence[LeafSummary], *, shapes: bool = True) -> tuple[str, ...]:
    return (
        slot,
        f"{len(leaves):,}",
        _distinct(str(leaf.shape) for leaf in leaves) if shapes else "",
        _distinct(leaf.dtype for leaf in leaves),
        f"{sum(leaf.bytes for leaf in leaves):,}",
        _distinct(leaf.device or "-" for leaf in leaves),
    )


def _distinct(texts: Iterable[str]) -> str:
    """Return the different ones of some texts, in their order, and how many more there are."""
    found = list(dict.fromkeys(texts))
    more = len(found) - _WRITTEN_OUT
    return ", ".join([*found[:_WRITTEN_OUT], *([f"{more} more"] if more > 0 else [])])
