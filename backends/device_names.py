"""Devices by the short names that people call them, whatever the libraries print."""

from __future__ import annotations

import re
from typing import Any

# ``cpu:0`` (JAX), ``mps:0`` (torch), ``Device(gpu, 0)`` (MLX), ``<CUDA Device 0>`` (CuPy),
# ``array_api_strict.Device('CPU_DEVICE')``.
_PRINTED = [
    re.compile(r"^(?P<kind>[a-z]+)(:(?P<index>\d+))?$"),
    re.compile(r"^device\((?P<kind>\w+), (?P<index>\d+)\)$"),
    re.compile(r"^<(?P<kind>\w+) device (?P<index>\d+)>$"),
    re.compile(r"^.*device\('(?P<kind>\w+?)(_device)?'\)$"),
]


def device_name(device: Any) -> str:
    """Return a device's kind, and its number unless that is 0: ``cpu``, ``cuda``, ``cuda:1``."""
    printed = str(device).lower()
    for pattern in _PRINTED:
        if found := pattern.match(printed):
            index = found.groupdict().get("index")
            return found["kind"] if index in (None, "0") else f"{found['kind']}:{index}"
    return printed
