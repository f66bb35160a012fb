"""The variables of Keras's optimizers: which there are, what they hold, and what they are to hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from uniopt.errors import PortingError
from uniopt.porting import host

NamedVariables = Mapping[str, Any]


def variables_of(optimizer: Any, named: NamedVariables | None) -> dict[str, Any]:
    """Return the variables by name, in the order in which the optimizer has them."""
    variables = optimizer._trainable_variables
    if named is None:
        found = {x.path: x for x in variables}
        if len(found) < len(variables):
            raise PortingError("Several variables have the same path. Pass named_variables=, with names that differ.")
        return found
    names = {id(variable): name for name, variable in named.items()}
    if missing := [x.path for x in variables if id(x) not in names]:
        raise PortingError(f"named_variables has not {', '.join(missing)}, which the optimizer has. Pass all of them.")
    return {names[id(x)]: x for x in variables}


def detached(variable: Any) -> Any:
    """Return the value of a variable, without torch's gradient tracking."""
    value = variable.value
    return value.detach() if hasattr(value, "detach") else value


def held_in(optimizer: Any, named: Mapping[str, Any], attributes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what an optimizer keeps: NumPy arrays by the attribute, and by the name of the parameter.

    An attribute is a list, with a variable for each parameter, or one variable for all.
    """
    held: dict[str, dict[str, Any]] = {}
    for slot in attributes:
        variables = getattr(optimizer, slot, None)
        of_all = variables if isinstance(variables, list) else [variables] * len(named)
        pairs = zip(named, of_all, strict=False)  # there is no variable of what the optimizer does not use
        held[slot] = {parameter: host.array(detached(x)) for parameter, x in pairs if x is not None}
    return held


def check_variables(optimizer: Any, wanted: Mapping[str, Any], name: str) -> None:
    """Raise PortingError if the optimizer would need other variables than it has been built with."""
    for switch in ("amsgrad", "centered"):
        if switch in wanted and bool(wanted[switch]) != bool(getattr(optimizer, switch)):
            raise PortingError(
                f"{name} has {switch}={getattr(optimizer, switch)!r}, and its variables are for that. "
                f"Make it with {switch}={wanted[switch]!r}."
            )
    if "momentum" in wanted and bool(wanted["momentum"]) != bool(optimizer.momentum):
        raise PortingError(
            f"{name} has momentum={optimizer.momentum!r}, and its variables are for that. "
            f"Make it with momentum={wanted['momentum']!r}."
        )


def assignments(optimizer: Any, named: dict[str, Any], entries: dict[str, dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Return the variables and what they are to hold; PortingError if one cannot."""
    found = []
    for slot, values in entries.items():
        variables = getattr(optimizer, slot)
        if not isinstance(variables, list):
            if len({np.asarray(x).tobytes() for x in values.values()}) > 1:
                raise PortingError(f"Keras has one {slot} for all parameters, but they have different ones.")
            found.append((variables, _cast(next(iter(values.values())), variables, slot)))
            continue
        for parameter, variable in zip(named, variables, strict=True):
            if parameter in values:
                found.append((variable, _cast(values[parameter], variable, f"{slot} of {parameter}")))
    return found


def _cast(value: Any, variable: Any, what: str) -> Any:
    """Return a slot in the dtype of a variable; PortingError if that loses digits."""
    held = host.array(detached(variable))
    value = np.asarray(value)
    cast = value.astype(held.dtype)
    if not np.array_equal(cast.astype(value.dtype), value, equal_nan=value.dtype.kind in "fc"):
        raise PortingError(f"{what} is {value.dtype} and loses digits as {variable.dtype}, in which Keras keeps it.")
    return cast
