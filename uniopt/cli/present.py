"""Which libraries are present, and their devices by the short names that people call them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uniopt import backends
from uniopt.backends import Backend
from uniopt.backends.device_names import device_name

_GPUS = {"cuda", "rocm", "mps", "xpu", "metal"}


def unavailable(name: str) -> str | None:
    """Return why a library cannot compute here, a broken installation included; None where it can."""
    try:
        return backends.why_unavailable(name)
    except Exception as error:  # a broken library may raise anything when it is imported
        return f"{name} is installed but broken: {type(error).__name__}: {error}"


def find_device(backend: Backend, name: str | None) -> Any | None:
    """Return the library's device of that name, its default device for no name, or None where it has no such device.

    ``gpu`` is any graphics processor, and ``cuda:0`` the same as ``cuda``.
    """
    devices = backend.devices()
    if name is None:
        return backend.xp.default_device() if backend.name == "mlx" else devices[0]
    wanted = name.lower().removesuffix(":0")
    for device in devices:
        found = device_name(device)
        if found == wanted or (wanted == "gpu" and found in _GPUS):
            return device
    return None


@contextmanager
def default_device(backend: Backend, device: Any) -> Iterator[None]:
    """Let MLX, whose arrays have no device, run on this one for a while; others put their arrays there."""
    if backend.name != "mlx":
        yield
        return
    before = backend.xp.default_device()
    backend.xp.set_default_device(device)
    try:
        yield
    finally:
        backend.xp.set_default_device(before)
