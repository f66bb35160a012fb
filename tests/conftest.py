"""What every test may use: the libraries, float64 where a library has to be asked for it, and one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

# Read when a library is first imported, so they stand before everything else.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()
os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the arrays are small: threads cost more than they bring
os.environ.setdefault("DASK_SCHEDULER", "synchronous")
os.environ.setdefault("KERAS_BACKEND", "torch")

import pytest
from uniopt.backends import registry
from uniopt.backends.protocol import Backend

import uniopt

EVERYWHERE = ("numpy", "torch", "jax", "mlx", "dask", "array_api_strict")
"""The libraries that run on any machine: where one of them is missing the tests fail. The others need a device."""


def require(name: str) -> Backend:
    """Return the backend of that name; skip where it needs a device that is not here, fail where it should run."""
    reason = uniopt.backends.why_unavailable(name)
    if reason is not None and name in EVERYWHERE:
        pytest.fail(f"{name} is expected on every machine: {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(reason)
    return registry.get(name)


def float64(name: str) -> AbstractContextManager[Any]:
    """Return the context in which the named library computes in float64; only JAX has to be asked."""
    if name != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


@pytest.fixture(params=uniopt.backends.names())
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each library in turn."""
    return require(request.param)


@pytest.fixture
def x64(request: pytest.FixtureRequest) -> Iterator[None]:
    """float64 for the length of one test; JAX's default, float32, is what the other tests see."""
    with float64("jax"):
        yield
