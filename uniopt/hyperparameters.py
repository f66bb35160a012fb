"""Checking and normalising hyperparameters when a transformation is built, where a mistake can still be named."""

from __future__ import annotations

import math
from typing import Any

from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.errors import HyperparameterError
from uniopt.typing import Scalar, ScalarOrSchedule


class DtypeName(str):
    """The name of a dtype; each library's own dtype is looked up when it is known."""

    __slots__ = ()


def number(name: str, value: Any, *, at_least: float = -math.inf, below: float = math.inf) -> Scalar:
    """Return a hyperparameter as a Python float, or as it is if it is a 0-d array (which may be traced).

    Raises
    ------
    HyperparameterError
        If it is neither, or a number outside ``[at_least, below)``.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    backend = None if is_number else registry.find(type(value))
    if backend is not None and backend.name != "numpy":
        if tuple(value.shape) == ():
            return value
    elif is_number or (backend is not None and value.shape == () and value.dtype.kind in "fiu"):
        result = float(value)
        if at_least <= result < below or (math.isinf(below) and result == below):
            return result
    raise HyperparameterError(f"{name} is {value!r}, expected {_range(at_least, below)} or a 0-d array.")


def learning_rate(value: Any, name: str = "learning_rate") -> ScalarOrSchedule:
    """Return a learning rate: a number not below 0, a 0-d array, or a schedule."""
    if callable(value):
        return value
    try:
        return number(name, value, at_least=0.0)
    except HyperparameterError as error:
        raise HyperparameterError(f"{str(error).removesuffix('.')} or a schedule (a function of the step).") from None


def decay_rate(name: str, value: Any) -> Scalar:
    """Return the decay rate of a moving average: a number in [0, 1), or a 0-d array."""
    return number(name, value, at_least=0.0, below=1.0)


def nonnegative(name: str, value: Any) -> Scalar:
    """Return a number not below 0, or a 0-d array."""
    return number(name, value, at_least=0.0)


def positive(name: str, value: Any) -> Scalar:
    """Return a number above 0, or a 0-d array."""
    result = number(name, value, at_least=0.0)
    if isinstance(result, float) and result == 0.0:
        raise HyperparameterError(f"{name} is {value!r}, expected a number above 0.")
    return result


def dtype(name: str, value: Any) -> DtypeName | None:
    """Return the name of a floating-point dtype given by name or by any library's dtype object; None stays None."""
    if value is None:
        return None
    found = dtype_name(value) if not isinstance(value, str) else value
    if dtype_kind(found) not in ("real", "complex"):
        raise HyperparameterError(
            f"{name} is {value!r}, expected the name of a floating-point dtype such as 'bfloat16', or a dtype object."
        )
    return DtypeName(found)


def _range(at_least: float, below: float) -> str:
    if math.isinf(at_least):
        return "a number"
    if math.isinf(below):
        return f"a number not below {at_least:g}"
    return f"a number in [{at_least:g}, {below:g})"
