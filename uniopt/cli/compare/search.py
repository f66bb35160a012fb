"""The call of one dialect that computes what a call of another does: found by trying arguments and reading what comes.

Which argument sets which switch is not written down anywhere. Each parameter of a constructor is given the values that
the wanted transformation has somewhere, and keeps the one that leaves the fewest switches different, until nothing
gets better.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from inspect import Parameter
from itertools import product
from typing import Any

from uniopt.cli.compare.calls import CONSTRUCTORS, Call, read
from uniopt.cli.compare.formula import RISEN, formula
from uniopt.cli.compare.switches import ORDER, Switches, differing
from uniopt.cli.errors import CommandError
from uniopt.errors import UnioptError
from uniopt.transformation import Bound

_RULELESS = {"add_decayed_weights", "scale", "scale_by_learning_rate", "trace"}
"""The parts of gradient descent, which are around other rules too."""


def nearest(first: Call, second: Call) -> tuple[Call, int]:
    """Return the call of the second's dialect that is nearest to the first call, and how many switches still differ.

    Another optimizer of the dialect is taken only if it comes nearer than the second's own.
    """
    found = _nearest(second, Wanted(first))
    if found[1] and "trace" in formula(first.transformation())[ORDER]:
        undampened = _nearest(second, Wanted(first, dampened=False))
        found = undampened if undampened[1] == 0 else found
    return found


class Wanted:
    """The switches that are wanted, and the values that they have."""

    def __init__(self, call: Call, dampened: bool = True) -> None:
        self._form = partial(formula, dampened=dampened)
        self.switches = self._form(call.transformation())
        self.values = _values(self.switches)

    def distance(self, call: Call) -> float:
        """Return how many numbers and switches of a call are different; infinity for one that cannot be carried out."""
        try:
            found = differing(self._form(call.transformation()), self.switches)
        except (UnioptError, TypeError, ValueError, ArithmeticError):  # no value for this parameter, or not with others
            return math.inf
        return sum(1 if name.endswith(ORDER) else _count(*pair) for name, pair in found.items())

    def is_related(self, call: Call) -> bool:
        """Return whether a call has a rule in common with what is wanted, or neither has any."""
        try:
            rules = set(self._form(call.transformation())[ORDER]) - _RULELESS
        except UnioptError:
            return False
        wanted = set(self.switches[ORDER]) - _RULELESS
        return bool(rules & wanted) or not (rules or wanted)


def without_epsilon(first: Call, second: Call) -> tuple[Call, Call] | None:
    """Return the first call with an epsilon of 0, and the same in the second's dialect; None if there is none."""
    names = [name for name, p in first.parameters().items() if name.startswith("eps") and isinstance(p.default, float)]
    changed = first.but(**dict.fromkeys(names, 0.0))
    if changed == first:
        return None
    try:
        changed.transformation()
    except UnioptError:  # an epsilon that has to be above 0
        return None
    found, apart = nearest(changed, second)
    return (changed, found) if apart == 0 else None


def _nearest(second: Call, wanted: Wanted) -> tuple[Call, int]:
    best, apart = _descend(second, wanted)
    for name in CONSTRUCTORS[second.dialect]:
        if apart and name != second.name:
            begun = _begun(replace(second, name=name, arguments={}, positional=0), wanted)
            if wanted.is_related(begun) and (found := _descend(begun, wanted))[1] < apart:
                best, apart = found
    return best, apart


def _begun(call: Call, wanted: Wanted) -> Call:
    """Return the call with some number for each parameter that has no default."""
    required = [name for name, p in call.parameters().items() if p.default is Parameter.empty]
    some = next((x for x in wanted.values if isinstance(x, float) and x > 0), 1.0)
    return call.but(**dict.fromkeys(required, some))


def _descend(call: Call, wanted: Wanted) -> tuple[Call, int]:
    """Return the call with the arguments that leave the fewest switches different, and how many these are."""
    best, apart = call, wanted.distance(call)
    better = True
    while better and apart:
        better = False
        for step in (_one_changed, _flag_and_one_changed):
            for changes in step(best, wanted) if not better else ():
                tried = best.but(**changes)
                distance = wanted.distance(tried)
                if distance < apart and _can_be_written(tried):
                    best, apart, better = tried, distance, True
    return best, int(apart)


def _one_changed(call: Call, wanted: Wanted) -> Iterator[dict[str, Any]]:
    for name, parameter in call.parameters().items():
        for value in _candidates(parameter, wanted.values):
            yield {name: value}


def _flag_and_one_changed(call: Call, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield changes with a flag beside them, without which an argument may have no effect or be refused."""
    for flag, parameter in call.parameters().items():
        if isinstance(parameter.default, bool):
            for changes in _one_changed(call, wanted):
                yield {flag: not call.arguments.get(flag, parameter.default), **changes}


def _can_be_written(call: Call) -> bool:
    """Return whether the call can be read from its text; a rate that a dialect makes of others has no name."""
    try:
        return read(str(call)) == call
    except CommandError:
        return False


def _count(a: Any, b: Any) -> int:
    """Return in how many places two values differ; tuples, such as those of coefficients, have several."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return sum(_count(x, y) for x, y in zip(a, b, strict=True))
    return int(a != b)


def _values(wanted: Switches) -> list[Any]:
    """Return the values that switches have, those of learning rates first, and those that they are made of."""
    names = sorted(wanted, key=lambda name: not name.endswith("learning_rate"))
    found = [y for name in names if name != ORDER for y in _parts_of(wanted[name])]
    found += [1 / x for name, x in wanted.items() if name.endswith("step_size") and x]  # what is divided by
    found += [RISEN] if wanted.get("scale_by_adam.nesterov") else []
    unique: list[Any] = []
    for x in [*found, None, 0.0]:
        if not any(type(x) is type(y) and x == y for y in unique):
            unique.append(x)
    return sorted(unique, key=lambda x: _is_number(x) and x == 0)  # 0 is last: an epsilon of 0 may stand anywhere


def _parts_of(x: Any) -> list[Any]:
    match x:
        case bool() | None:
            return []
        case int() | float():
            return [x, -x]
        case Bound():
            return [x, *(y for held in x.keywords.values() for y in _parts_of(held))]
        case tuple() | list():
            return [x, *(y for held in x for y in _parts_of(held))]
        case _:
            return [x]


def _candidates(parameter: Parameter, pool: list[Any]) -> Iterator[Any]:
    """Yield the values of the pool that are of the kind of the parameter's default, and those that it has names for."""
    default = parameter.default
    yield from re.findall(r"[\"'](\w+)[\"']", str(parameter.annotation))  # the names that a Literal allows
    if isinstance(default, bool):
        yield from (True, False)
    elif isinstance(default, tuple):
        yield from (x for x in pool if isinstance(x, tuple) and len(x) == len(default))
        if len(default) == 2:
            numbers = [x for x in pool if x is None or _is_number(x)]
            yield from product(numbers, repeat=2)
    elif isinstance(default, str):
        yield from (x for x in pool if isinstance(x, str))
    else:
        yield from (x for x in pool if default is None or not isinstance(x, tuple))


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)
