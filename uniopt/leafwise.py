"""Rules that treat every leaf by itself: an optimizer as two short functions of one array."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from uniopt.errors import DtypeKindError, HyperparameterError
from uniopt.leaf_by_leaf import resolved, run, varying
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, transformation


def leafwise(
    state: type[Any],
    init: Callable[..., dict[str, Any]] | None,
    rule: Callable[..., Any],
    /,
    *,
    counter: str = "count",
    **hyper: Any,
) -> GradientTransformation:
    """Return the transformation that applies a rule to each leaf of the gradients.

    Parameters
    ----------
    state
        A NamedTuple class. Its field `counter`, if it has one, is the number of steps taken (a 0-d int32 array);
        every other field is a slot: a tree like the parameters.
    init
        ``init(xp, p, **hyper)`` returns the first value of each slot for the parameter `p`, as a dict. It is given
        those of the hyperparameters that it names. None where there is no slot.
    rule
        ``rule(xp, g, s, **hyper)`` returns ``(update, s)`` for the gradient `g` and the leaf's slots `s`, an
        instance of `state`. It may also name, as keyword arguments, ``p`` (the parameter), ``t`` (the `Time`), and
        extra arguments that the user passes to ``update``. Its own name, without a leading underscore, is what the
        transformation prints as.
    counter
        Name of the field of `state` that counts.
    **hyper
        The hyperparameters: numbers, 0-d arrays, switches. Functions are schedules of the step count: the rule
        gets their value.

    Notes
    -----
    A rule uses the standard's functions (from `xp`) and operators, and works in the dtype it is given: 16-bit leaves
    arrive as float32, and slots keep the dtype that `init` gave them. It has no ``if`` on an array, no in-place
    operator and no shape in a Python constant, so that it can be traced. Empty leaves never reach a rule.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> import numpy as np
    >>> import uniopt
    >>> class HeavyBallState(NamedTuple):
    ...     momentum: object
    >>> def init(xp, p):
    ...     return {"momentum": xp.zeros_like(p)}
    >>> def heavy_ball(xp, g, s, *, learning_rate, beta):
    ...     momentum = beta * s.momentum + g
    ...     return -learning_rate * momentum, s._replace(momentum=momentum)
    >>> tx = uniopt.leafwise(HeavyBallState, init, heavy_ball, learning_rate=0.5, beta=0.9)
    >>> tx
    heavy_ball(learning_rate=0.5, beta=0.9)
    >>> params = np.asarray([1.0, 2.0])
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> updates
    array([-0.5, -1. ])
    """
    return transformation(Leafwise(state, init, rule, counter, hyper))


@dataclass(frozen=True, eq=False, repr=False)
class Leafwise(Stage):
    """The stage behind `leafwise`."""

    state: type[Any]
    init_rule: Callable[..., dict[str, Any]] | None
    rule: Callable[..., Any]
    counter: str
    hyper: dict[str, Any]
    slots: tuple[str, ...] = field(init=False)
    init_hyper: dict[str, Any] = field(init=False)
    rule_hyper: dict[str, Any] = field(init=False)
    wants: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        fields = self.state._fields
        named = [] if self.init_rule is None else list(inspect.signature(self.init_rule).parameters)
        wanted = list(inspect.signature(self.rule).parameters)[3:]
        for name, value in {
            "slots": tuple(name for name in fields if name != self.counter),
            "init_hyper": {name: self.hyper[name] for name in named if name in self.hyper},
            "rule_hyper": {name: self.hyper[name] for name in wanted if name in self.hyper},
            "wants": frozenset(name for name in wanted if name not in self.hyper),
        }.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.hyper.items())})"

    @property
    def name(self) -> str:
        return self.rule.__name__.lstrip("_")

    def init(self, step: Step, params: list[Any]) -> Any:
        backend = step.backend
        hyper = {name: resolved(backend, value) for name, value in self.init_hyper.items()}
        each = varying(self.init_hyper, step, params)
        made: list[dict[str, Any] | None] = []
        for i, p in enumerate(params):
            if p is None or self.init_rule is None:
                made.append(None)
                continue
            own = {**hyper, **{name: values[i] for name, values in each.items()}}
            try:
                made.append(self.init_rule(step.xp, p, **own))
            except (HyperparameterError, DtypeKindError) as error:  # the rule does not know which leaf it was given
                raise type(error)(f"At {step.path(i)}: {error}") from error
        trees = {
            slot: step.rebuild([m and _each(lambda x: backend.astype(x, x.dtype), m[slot]) for m in made])
            for slot in self.slots
        }
        return self.state(**({self.counter: step.counter()} if self.counter in self.state._fields else {}), **trees)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        results, (after,) = run([self], step, updates, [state], params, extra)
        return results, after


def _each(f: Callable[[Any], Any], slot: Any) -> Any:
    """Apply `f` to a slot's array, or to each of its arrays where it is a list or tuple of them."""
    return type(slot)(f(x) for x in slot) if isinstance(slot, list | tuple) else f(slot)
