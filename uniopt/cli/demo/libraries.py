"""What a library needs around a training step, beyond the arithmetic that the Array API standard gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from uniopt import tree
from uniopt.backends import Backend
from uniopt.cli.present import default_device
from uniopt.typing import Tree

# The libraries are imported by their backends alone; here they are reached once that has happened.


@contextmanager
def ready(backend: Backend, device: Any, dtype: str) -> Iterator[None]:
    """Set the library up to train on the device in the dtype, and undo that at the end."""
    with ExitStack() as stack:
        # On a network this small, threads that wait for each other take longer than the arithmetic.
        stack.enter_context(threadpool_limits(limits=1))
        stack.enter_context(default_device(backend, device))
        match backend.name:
            case "jax":
                stack.enter_context(_jax_config(jax_enable_x64=dtype == "float64"))
                # By default JAX multiplies float32 matrices with fewer bits on some processors.
                stack.enter_context(_jax_config(jax_default_matmul_precision="highest"))
            case "torch":
                stack.enter_context(backend.xp.no_grad())
        yield


def compiled(backend: Backend, step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the training step in the form in which the library is meant to run it: traced under JAX, else as it is."""
    return backend.compile(step) if backend.name == "jax" else step


def computed(backend: Backend, results: Tree) -> Tree:
    """Return the results of a step with their values computed, where the library has only promised them."""
    if backend.name not in ("dask", "mlx"):
        return results
    leaves, structure = tree.flatten(results)
    if backend.name == "mlx":
        backend.xp.eval(leaves)
        return results
    # All at once, so that what the leaves share is computed once.
    return tree.unflatten(structure, sys.modules["dask"].persist(*leaves, scheduler="synchronous"))


def execution(backend: Backend) -> str:
    """Return in a word or two how the library runs the steps."""
    return {"jax": "jit", "mlx": "lazy", "dask": "persisted"}.get(backend.name, "eager")


@contextmanager
def _jax_config(**options: Any) -> Iterator[None]:
    config = sys.modules["jax"].config
    before = {name: getattr(config, name) for name in options}
    for name, value in options.items():
        config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            config.update(name, value)
