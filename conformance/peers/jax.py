"""JAX: float64 exists only while x64 is enabled, and float32 is tested as most people run it, without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from uniopt.conformance.peers.personality import Personality

DEVICES = 4
"""How many share the arrays of a sharded run."""

vmap = jax.vmap
scan = jax.lax.scan


@contextmanager
def _strict() -> Iterator[None]:
    """Let no two arrays meet that have other data types, or another number of axes."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


PERSONALITIES = {"strict": Personality(_strict)}


@contextmanager
def session(dtype: str) -> Iterator[None]:
    """Compute in `dtype`, matrix products included: on GPUs and TPUs JAX has fewer bits for these, unless asked."""
    with jax.enable_x64(dtype in ("float64", "complex128")), jax.default_matmul_precision("highest"):
        yield


def why_unavailable(mode: str, device: Any) -> str:
    """Return why a mode cannot be on a device, or the empty string."""
    found = len(jax.devices(device.platform))
    if mode != "sharded" or found >= DEVICES:
        return ""
    return (
        f"sharded takes {DEVICES} devices, and there is {found} {device.platform}: set "
        f"XLA_FLAGS=--xla_force_host_platform_device_count={DEVICES}"
    )


def shares(device: Any) -> Callable[[tuple[int, ...]], Any]:
    """Return where an array of a shape lies: its first axis shared by devices of one kind, if they can share it."""
    mesh = Mesh(np.asarray(jax.devices(device.platform)[:DEVICES]), ("data",))

    def of(shape: tuple[int, ...]) -> NamedSharding:
        parts = ("data",) if shape and shape[0] % DEVICES == 0 else ()
        return NamedSharding(mesh, PartitionSpec(*parts))  # type: ignore[no-untyped-call]  # JAX annotates no constructor

    return of
