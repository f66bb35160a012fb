"""keras on torch: its own optimizers, by its dialect.

On NumPy and JAX, keras computes in float32 whatever the parameters are, unless it is told otherwise.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # it is chosen once, when keras is loaded

import keras
import numpy as np
from uniopt.conformance.cases import Case
from uniopt.conformance.error_unit import Trajectory
from uniopt.conformance.problems import Problem

from uniopt import tree


def covers(case: Case) -> bool:
    """Return whether keras has the optimizer: those of its dialect."""
    if case.dialect != "keras" or keras.backend.backend() != "torch":
        return False
    return not (case.problem.skips or case.problem.is_complex)


def trajectory(case: Case) -> Trajectory:
    """Return the path of keras's optimizer in float64."""
    return follow(case.optimizer.removeprefix("keras."), case.plain_hyper(), case.problem)


def follow(name: str, hyper: Mapping[str, Any], problem: Problem) -> Trajectory:
    """Return the path of one of keras's optimizers in the data type of the problem's parameters."""
    leaves, structure = tree.flatten(problem.params)
    names = [path.replace(".", "_") for path in tree.dotted_paths(structure)]
    dtype = next(str(x.dtype) for x in leaves if x is not None)
    with scalars_like(dtype), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # of keras's Nadam
        variables = [
            None if x is None else keras.Variable(np.array(x), dtype=dtype, name=name)
            for x, name in zip(leaves, names, strict=True)
        ]
        present = [x for x in variables if x is not None]
        make = Unaliased if name == "ScheduleFreeAdamW" else getattr(keras.optimizers, name)
        optimizer = make(**{key: _Schedule(x) if callable(x) else x for key, x in hyper.items()})
        path = [leaves]
        for step in range(problem.steps):
            _, gradient = problem.at(step, path[-1])
            given = [g for g in tree.flatten(gradient)[0] if g is not None]
            optimizer.apply([keras.ops.convert_to_tensor(g, dtype=dtype) for g in given], present)
            path.append([None if x is None else host(x) for x in variables])
    return path


@contextmanager
def scalars_like(dtype: str) -> Iterator[None]:
    """Let keras keep its own scalars in that data type."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def host(variable: Any) -> Any:
    """Return a copy of a variable's value."""
    value = variable.value
    return np.array(value.detach().numpy() if hasattr(value, "detach") else value)  # keras's own way makes NumPy warn


class Unaliased(keras.optimizers.ScheduleFreeAdamW):  # type: ignore[misc]  # untyped
    """ScheduleFreeAdamW whose old momentum stays as it was.

    On torch, keras overwrites it in place before it is used, and so computes something else than on other libraries.
    """

    def assign_sub(self, variable: Any, value: Any) -> None:
        """Subtract from a variable."""
        if keras.backend.backend() == "torch":
            variable._value = variable.value.clone()
        super().assign_sub(variable, value)


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # untyped
    """A learning rate that is a function of the step."""

    def __init__(self, rate: Callable[[int], float]) -> None:
        self._rate = rate

    def __call__(self, step: Any) -> Any:
        rate = self._rate(int(keras.ops.convert_to_numpy(step)))
        return keras.ops.convert_to_tensor(rate, dtype=keras.config.floatx())
