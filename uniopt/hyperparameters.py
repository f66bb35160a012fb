"""Checking and normalising hyperparameters when a transformation is built, where a mistake can still be named."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from uniopt import tree
from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.errors import HyperparameterError
from uniopt.library import outline
from uniopt.typing import Integer, Scalar, ScalarOrSchedule


class DtypeName(str):
    """The name of a dtype; each library's own dtype is looked up when it is known."""

    __slots__ = ()


@dataclass(frozen=True)
class PerLeaf:
    """A hyperparameter of `leafwise` that differs from leaf to leaf.

    Attributes
    ----------
    values
        A tree like the parameters, a prefix of one, or a function from the parameters to one. A value may be what a
        hyperparameter may be: a number, a 0-d array, a schedule, or an object of the rule's own.
    """

    values: Any

    def __repr__(self) -> str:
        return repr(self.values)


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
        if tuple(value.shape) == () and dtype_kind(dtype_name(value.dtype)) in ("real", "integer"):
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


def fraction(name: str, value: Any) -> Scalar:
    """Return a number in [0, 1], or a 0-d array."""
    result = number(name, value, at_least=0.0)
    if isinstance(result, float) and result > 1.0:
        raise HyperparameterError(f"{name} is {value!r}, expected a number in [0, 1] or a 0-d array.")
    return result


def pair(name: str, value: Any) -> tuple[Any, Any]:
    """Return the two hyperparameters that some have together."""
    try:
        first, second = value
    except (TypeError, ValueError):
        raise HyperparameterError(f"{name} is {value!r}, expected a tuple of two.") from None
    return first, second


def decay_rates(name: str, value: Any) -> tuple[Scalar, Scalar]:
    """Return the decay rates of two moving averages."""
    first, second = pair(name, value)
    return decay_rate(f"{name}[0]", first), decay_rate(f"{name}[1]", second)


def nonnegative(name: str, value: Any) -> Scalar:
    """Return a number not below 0, or a 0-d array."""
    return number(name, value, at_least=0.0)


def positive(name: str, value: Any) -> Scalar:
    """Return a number above 0, or a 0-d array."""
    result = number(name, value, at_least=0.0)
    if isinstance(result, float) and result == 0.0:
        raise HyperparameterError(f"{name} is {value!r}, expected a number above 0 or a 0-d array.")
    return result


def nonpositive(name: str, value: Any) -> Scalar:
    """Return a number not above 0, or a 0-d array."""
    result = number(name, value)
    if isinstance(result, float) and result > 0.0:
        raise HyperparameterError(f"{name} is {value!r}, expected a number not above 0 or a 0-d array.")
    return result


def integer(name: str, value: Any, *, at_least: int) -> Integer:
    """Return an integer as a Python int, or as it is if it is a 0-d array (which may be traced).

    Raises
    ------
    HyperparameterError
        If it is neither, or an int below `at_least`.
    """
    backend = registry.find(type(value))
    if backend is None or backend.name == "numpy":
        return fixed_integer(name, value, at_least=at_least)
    if tuple(value.shape) == () and dtype_kind(dtype_name(value.dtype)) == "integer":
        return value
    raise HyperparameterError(
        f"{name} is {outline(value)}, expected an integer not below {at_least} or a 0-d array of integers."
    )


def fixed_integer(name: str, value: Any, *, at_least: int, below: int | None = None) -> int:
    """Return an integer of a range that decides shapes, the number of operations, or a seed."""
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:  # a traced array too: the number is needed now
        found = None
    if found is None or found < at_least or (below is not None and found >= below):
        bounds = f"not below {at_least}" if below is None else f"in [{at_least}, {below})"
        raise HyperparameterError(f"{name} is {outline(value)}, expected an integer {bounds}.")
    return found


def steps(name: str, value: Any, *, at_least: float = -math.inf) -> int | float:
    """Return a number of steps, which need not be a whole number; an int where it is one."""
    found = number(name, value)
    if not isinstance(found, float):  # a 0-d array of a library that may trace: the number is needed now
        raise HyperparameterError(f"{name} is {value!r}, expected a number of steps: a Python number, and no array.")
    if not math.isfinite(found):
        raise HyperparameterError(f"{name} is {value!r}, expected a finite number of steps.")
    if found < at_least:
        raise HyperparameterError(f"{name} is {value!r}, expected a number of steps not below {at_least:g}.")
    return int(found) if found.is_integer() else found


def positive_steps(name: str, value: Any) -> int | float:
    """Return a number of steps above 0."""
    found = steps(name, value)
    if not found > 0:
        raise HyperparameterError(f"{name} is {value!r}, expected a number of steps above 0.")
    return found


def axes(name: str, value: Any) -> tuple[int, ...] | None:
    """Return one or more axes as a tuple of integers; None stays None."""
    given = (value,) if hasattr(value, "__index__") else value
    if given is not None and not (isinstance(given, Sequence) and all(hasattr(a, "__index__") for a in given)):
        raise HyperparameterError(f"{name} is {value!r}, expected an integer, several of them, or None.")
    return None if given is None else tuple(map(operator.index, given))


def seed(key: Any, seed: Any) -> int:
    """Return the seed of random numbers, which may be given by either of two names; None is 0."""
    if key is not None and seed is not None:
        raise HyperparameterError(f"key is {key!r} and seed is {seed!r}, expected only one of them.")
    name, chosen = ("key", key) if seed is None else ("seed", seed)
    return 0 if chosen is None else fixed_integer(name, chosen, at_least=0, below=2**64)


def switch(name: str, value: Any) -> bool:
    """Return True or False."""
    if isinstance(value, bool):
        return value
    backend = registry.find(type(value))
    if backend is not None and backend.name == "numpy" and value.shape == () and value.dtype.kind == "b":
        return bool(value)
    raise HyperparameterError(f"{name} is {value!r}, expected True or False.")


def one_of(name: str, value: Any, names: Sequence[str]) -> str:
    """Return one of some names."""
    if not isinstance(value, str) or value not in names:
        raise HyperparameterError(f"{name} is {value!r}, expected one of {', '.join(names)}.")
    return value


def mapping(name: str, value: Any, content: str) -> dict[Any, Any]:
    """Return a dict, of which `content` says what it is of."""
    if not isinstance(value, Mapping):
        raise HyperparameterError(f"{name} is {value!r}, expected a dict of {content}.")
    return dict(value)


def mask(name: str, value: Any) -> Any:
    """Return a mask: a tree of bools, a prefix of one, or a function; None stays None."""
    if value is None or tree.is_function(value):
        return value
    leaves, structure = tree.flatten(value)

    def path(i: int) -> str:
        return tree.paths(structure, name)[i]

    checked = [None if leaf is None else mask_leaf(partial(path, i), leaf) for i, leaf in enumerate(leaves)]
    return tree.unflatten(structure, checked)


def mask_leaf(path: Callable[[], str], leaf: Any) -> bool:
    """Return one leaf of a mask as a bool: it is one, or a 0-d array of one, of any library."""
    if isinstance(leaf, bool):
        return leaf
    backend = registry.find(type(leaf))
    if backend is not None and not backend.is_traced(leaf) and dtype_kind(dtype_name(leaf.dtype)) == "boolean":
        value = backend.to_numpy(leaf)
        if value.shape == ():
            return bool(value)
    raise HyperparameterError(
        f"{path()} is {leaf!r}, expected True or False. "
        "A mask is a tree of bools, a prefix of one, or a function from the parameters to one."
    )


def dtype(name: str, value: Any) -> DtypeName | None:
    """Return the name of a floating-point dtype given by name or by any library's dtype object; None stays None."""
    if value is None:
        return None
    hashable = isinstance(value, Hashable) and not isinstance(value, str)
    found = dtype_name(value) if hashable else str(value)
    if dtype_kind(found) not in ("real", "complex"):
        raise HyperparameterError(
            f"{name} is {value!r}, expected the name of a floating-point dtype such as 'bfloat16', or a dtype object."
        )
    return DtypeName(found)


def real_dtype(name: str, value: Any) -> DtypeName | None:
    """Return the name of a real floating-point dtype; None stays None."""
    found = dtype(name, value)
    if found is not None and dtype_kind(found) != "real":
        raise HyperparameterError(f"{name} is {value!r}, expected a real dtype such as 'bfloat16'.")
    return found


def _range(at_least: float, below: float) -> str:
    if math.isinf(at_least):
        return "a number"
    if math.isinf(below):
        return f"a number not below {at_least:g}"
    return f"a number in [{at_least:g}, {below:g})"
