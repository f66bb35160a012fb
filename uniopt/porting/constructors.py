"""A framework's constructor as a table: which of its names stands for what in the normal form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from uniopt.errors import HyperparameterError, PortingError
from uniopt.porting.description import Description
from uniopt.transformation import GradientTransformation

Switches: TypeAlias = Mapping[str, Any]
Value: TypeAlias = str | tuple[str, ...] | Callable[[Switches], Any]


@dataclass(frozen=True)
class Constructor:
    """One of a framework's optimizers, for one sequence of rules.

    Attributes
    ----------
    rules
        The rules of the normal form that it computes.
    parameters
        What each of its parameters is: the name of a switch, a tuple of such names, or a function of the switches. A
        switch that is not there is 0.
    slots
        The name that each of its slots has in the normal form.
    fixed
        The parameters that must have some value for it to compute those rules.
    """

    rules: tuple[str, ...]
    parameters: Mapping[str, Value]
    slots: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, described: Description) -> dict[str, Any]:
        """Return the arguments with which it does what is described, if any are."""
        switches = {**described.switches, **described.first_values}
        return {**self.fixed, **{name: _value(value, switches) for name, value in self.parameters.items()}}


def negative(name: str) -> Value:
    """Return the value of a parameter that is a switch with the other sign."""
    return lambda switches: -switches[name]


def either(*names: str) -> Value:
    """Return the value of a parameter that is one of several switches: the first that is not 0."""
    return lambda switches: next((x for x in map(switches.get, names) if x), 0.0)


def is_set(name: str) -> Value:
    """Return the value of a parameter that tells whether a switch is other than 0."""
    return lambda switches: bool(switches.get(name, 0.0))


def constructor_for(constructors: Sequence[Constructor], described: Description, name: str) -> Constructor:
    """Return the one among the constructors of an optimizer that computes the rules of a description.

    Raises
    ------
    PortingError
        If none does.
    """
    rules = described.switches["rules"]
    for constructor in constructors:
        if constructor.rules == rules:
            return constructor
    has = " or ".join(sorted({" and ".join(c.rules) or "no rule" for c in constructors}))
    raise PortingError(
        f"{described.path} is optimized by {' and '.join(rules) or 'no rule'}, but {name} computes {has}."
    )


def build(
    make: Callable[..., GradientTransformation], arguments: Mapping[str, Any], described: Description
) -> GradientTransformation:
    """Return a dialect's transformation; PortingError if the framework takes no such arguments."""
    try:
        return make(**arguments)
    except HyperparameterError as error:
        raise PortingError(f"{described.path} cannot be optimized by {make.__name__}: {error}") from None


def _value(value: Value, switches: Switches) -> Any:
    if callable(value):
        return value(switches)
    if isinstance(value, tuple):
        return tuple(switches.get(name, 0.0) for name in value)
    found = switches.get(value, 0.0)
    return 0.0 if found is None else found  # which then is seen to differ
