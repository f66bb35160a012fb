"""MLX: the default device decides where it computes, and float64 exists on the CPU only. Its own optimizers.

Rates, and some numbers that follow from the count of steps, are float32 in MLX whatever the parameters are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.optimizers
import numpy as np
from uniopt.conformance.cases import Case
from uniopt.conformance.error_unit import Trajectory
from uniopt.conformance.problems import Problem

from uniopt import tree


@contextmanager
def session(dtype: str) -> Iterator[None]:
    """Compute in `dtype`."""
    default = mx.default_device()
    if dtype == "float64":
        mx.set_default_device(mx.cpu)
    try:
        yield
    finally:
        mx.set_default_device(default)


def covers(case: Case) -> bool:
    """Return whether MLX has the optimizer: those of its dialect."""
    if case.optimizer == "mlx.Muon" and any(x.size == 0 for x in tree.leaves(case.problem.params)):
        return False  # MLX cannot reshape an empty matrix
    return case.dialect == "mlx" and not (case.problem.skips or case.problem.is_complex)


def trajectory(case: Case) -> Trajectory:
    """Return the path of MLX's optimizer in float64."""
    with session("float64"):
        return follow(case.optimizer.removeprefix("mlx."), case.plain_hyper(), case.problem)


def follow(name: str, hyper: Mapping[str, Any], problem: Problem) -> Trajectory:
    """Return the path of one of MLX's optimizers in the data type of the problem's parameters."""
    given = {key: _schedule(x) if callable(x) else x for key, x in hyper.items()}
    optimizer = getattr(mlx.optimizers, name)(**given)
    leaves = tree.flatten(problem.params)[0]
    params, path = _present(leaves), [leaves]
    for step in range(problem.steps):
        _, gradient = problem.at(step, path[-1])
        params = optimizer.apply_gradients(_present(tree.flatten(gradient)[0]), params)
        path.append([np.array(params[str(i)]) if str(i) in params else None for i in range(len(leaves))])
    return path


def _present(leaves: list[Any]) -> dict[str, mx.array]:
    """Return the leaves that are there as arrays of MLX, whose optimizers take a dictionary."""
    return {str(i): mx.array(x, dtype=getattr(mx, str(x.dtype))) for i, x in enumerate(leaves) if x is not None}


def _schedule(rate: Callable[[int], float]) -> Callable[[mx.array], mx.array]:
    return lambda step: mx.array(rate(int(np.array(step))))
