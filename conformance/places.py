"""Places: the devices of a library, and the other ways in which its users have it, each of them called a personality.

A personality is written after the device that it is on, as in ``cpu+readonly``. It is made in the library's file in
`uniopt.conformance.peers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from uniopt.backends import Backend
from uniopt.backends.device_names import device_name

PERSONALITIES = {
    "numpy": ("readonly",),
    "array_api_strict": ("strictest",),
    "jax": ("strict",),
    "torch": ("elsewhere",),
}
_ALSO = {"array_api_strict": ("no_float64",)}  # devices that stand for those of others: TPUs, Apple's GPUs


@dataclass(frozen=True)
class Place:
    """Where and how a library is used.

    Attributes
    ----------
    device
        The device, or None where the library cannot run.
    name
        What it is called in the names of cells; ``"-"`` for no device.
    personality
        The way, or the empty string for the usual one.
    special
        Which of the library's own other places it is, whatever its devices are called; empty for the usual one.
    """

    device: Any
    name: str
    personality: str = ""
    special: str = ""


def places(library: str, backend: Backend | None, named: Sequence[str]) -> list[Place]:
    """Return the places whose names match, or without names the first device and the special ones.

    ``cuda:0`` is the same as ``cuda``.
    """
    personalities, also = PERSONALITIES.get(library, ()), _ALSO.get(library, ())
    if backend is None:
        return [Place(None, "-"), *(Place(None, f"-+{name}", special=name) for name in (*personalities, *also))]
    found = []
    for i, device in enumerate(backend.devices()):
        called = device_name(device)
        found.append(Place(device, called, special=called if called in also or i else ""))
        found += [Place(device, f"{called}+{name}", name, name) for name in personalities if not i]
    if named:
        patterns = [pattern.removesuffix(":0") for pattern in named]
        return [place for place in found if any(fnmatchcase(place.name, pattern) for pattern in patterns)]
    return [place for place in found if place.special in ("", *personalities, *also)]
