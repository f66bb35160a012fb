"""Rules that treat every leaf by itself: an optimizer as two short functions of one array."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from uniopt import tree
from uniopt.backends.dtypes import compute_dtype, dtype_name
from uniopt.backends.protocol import Backend
from uniopt.clock import Clock, Time
from uniopt.errors import HyperparameterError, MissingArgumentError, MissingParamsError, StateError, UnioptError
from uniopt.hyperparameters import DtypeName
from uniopt.step import Place, Step
from uniopt.transformation import GradientTransformation, Stage, check_state, transformation


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


@dataclass(frozen=True)
class PerLeaf:
    """A hyperparameter of `leafwise` that differs from leaf to leaf.

    Attributes
    ----------
    values
        A tree like the parameters, a prefix of one, or a function from the parameters to one.
    """

    values: Any

    def __repr__(self) -> str:
        return repr(self.values)


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
        hyper = {name: _resolved(backend, value) for name, value in self.init_hyper.items()}
        made: list[dict[str, Any] | None] = [
            None if p is None or self.init_rule is None else self.init_rule(step.xp, p, **hyper) for p in params
        ]
        trees = {
            slot: step.rebuild([m and _each(lambda x: backend.astype(x, x.dtype), m[slot]) for m in made])
            for slot in self.slots
        }
        return self.state(**({self.counter: step.counter()} if self.counter in self.state._fields else {}), **trees)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        self._check(state, params, extra)
        names = self.state._fields
        columns = [None if name == self.counter else step.slot(getattr(state, name), f"state.{name}") for name in names]
        # Looked up among the fields, because every tuple has a method called count.
        clock = Clock(step, getattr(state, self.counter) if self.counter in names else None)
        varying = self._varying(step, updates if params is None else params)
        known: dict[int, dict[str, Any]] = {}
        results: list[Any] = []
        for i, (g, place) in enumerate(zip(updates, step.places, strict=True)):
            if g is None or place is None or 0 in g.shape:
                results.append(g)
                continue
            hyper = known.get(id(place))
            if hyper is None:
                hyper = known[id(place)] = self._hyper_at(place, clock, extra)
            for name, values in varying.items():
                hyper[name] = values[i]
            if "p" in self.wants:
                hyper["p"] = params[i]  # type: ignore[index]  # _check has seen to it
            before = self.state(*[None if column is None else _widen(place, column[i]) for column in columns])
            try:
                result, after = self.rule(step.xp, g, before, **hyper)
            except HyperparameterError as error:  # the rule does not know which leaf it was given
                raise HyperparameterError(f"At {step.path(i)}: {error}") from error
            except Exception as error:
                self._explain(step, i, g, before, error)
                raise
            if result.shape != g.shape or any(map(_reshaped, before, after)):
                self._refuse_shapes(step, i, g, result, before, after)
            results.append(result)
            for column, x in zip(columns, after, strict=True):
                if column is not None:
                    column[i] = _store(place, x, column[i])
        trees = [clock.next() if column is None else step.rebuild(column) for column in columns]
        return results, self.state(*trees)

    def _hyper_at(self, place: Place, clock: Clock, extra: dict[str, Any]) -> dict[str, Any]:
        time = Time(clock, place)
        hyper = {name: _resolved(place.backend, time.value(name, x)) for name, x in self.rule_hyper.items()}
        if "t" in self.wants:
            hyper["t"] = time
        return hyper | {name: time.value(name, extra[name]) for name in self.wants if name in extra}

    def _varying(self, step: Step, leaves: list[Any]) -> dict[str, list[Any]]:
        """Return, for each hyperparameter that differs from leaf to leaf, its value for each of them."""
        found = {}
        for name, given in self.rule_hyper.items():
            if isinstance(given, PerLeaf):
                reference = step.rebuild(leaves)
                values = given.values(reference) if callable(given.values) else given.values
                found[name] = tree.broadcast(values, reference, what=name)
        return found

    def _check(self, state: Any, params: list[Any] | None, extra: dict[str, Any]) -> None:
        check_state(self.name, state, self.state)
        if "p" in self.wants and params is None:
            raise MissingParamsError(
                f"{self.name} needs the parameters, but update was called without them. "
                "Call tx.update(grads, state, params)."
            )
        for name in self.wants - {"p", "t"}:
            if extra.get(name) is not None:
                continue
            raise MissingArgumentError(
                f"{self.name} needs the extra argument {name!r}, but update was called without it. "
                f"Call tx.update(grads, state, params, {name}=...)."
            )

    def _explain(self, step: Step, i: int, g: Any, before: Any, error: Exception) -> None:
        """Raise StateError if the rule may have failed because the slots belong to another tree."""
        if isinstance(error, UnioptError):
            return
        for name, slot in zip(self.state._fields, before, strict=True):
            if getattr(slot, "ndim", 0) > 0 and slot.shape != g.shape:
                raise StateError(
                    f"{step.path(i, f'state.{name}')} has shape {tuple(slot.shape)}, {step.path(i)} has shape "
                    f"{tuple(g.shape)}, and {self.name} failed: {error}. The state may belong to other parameters; "
                    "call init with these."
                ) from error

    def _refuse_shapes(self, step: Step, i: int, g: Any, result: Any, before: Any, after: Any) -> None:
        for name, x, y in zip(self.state._fields, before, after, strict=True):
            if _reshaped(x, y):
                raise StateError(
                    f"{step.path(i, f'state.{name}')} has shape {tuple(x.shape)}, but {self.name} needs shape "
                    f"{tuple(y.shape)} for {step.path(i)}. The state belongs to other parameters; call init with these."
                )
        raise StateError(
            f"{self.name} made an update of shape {tuple(result.shape)} for {step.path(i)} of shape {tuple(g.shape)}. "
            "The state may belong to other parameters; call init with these."
        )


def _resolved(backend: Backend, value: Any) -> Any:
    """Return a hyperparameter that names a dtype as the library's own dtype; others as they are."""
    return backend.dtype(value) if isinstance(value, DtypeName) else value


def _reshaped(before: Any, after: Any) -> bool:
    return hasattr(before, "shape") and bool(before.shape != after.shape)


def _each(f: Callable[[Any], Any], slot: Any) -> Any:
    """Apply `f` to a slot's array, or to each of its arrays where it is a list or tuple of them."""
    return type(slot)(f(x) for x in slot) if isinstance(slot, list | tuple) else f(slot)


def _widen(place: Place, slot: Any) -> Any:
    """Return a slot in the dtype that is computed in: float32 for the 16-bit floats."""
    if isinstance(slot, list | tuple):
        return type(slot)(_widen(place, x) for x in slot)
    if slot.dtype == place.dtype:
        return slot
    name = dtype_name(slot.dtype)
    wide = compute_dtype(name)
    return slot if wide == name else place.backend.astype(slot, place.backend.dtype(wide))


def _store(place: Place, new: Any, old: Any) -> Any:
    """Return a slot's new value in the dtype of the old one."""
    if isinstance(old, list | tuple):
        return type(old)(_store(place, x, y) for x, y in zip(new, old, strict=True))
    return place.backend.astype(new, old.dtype)
