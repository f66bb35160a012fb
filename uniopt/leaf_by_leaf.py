"""One update by leafwise stages, leaf by leaf: a leaf goes through all of them while it is in the processor's cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from uniopt import tree
from uniopt.backends.dtypes import compute_dtype, dtype_name
from uniopt.backends.protocol import Backend
from uniopt.clock import Clock, Time
from uniopt.errors import (
    DtypeKindError,
    HyperparameterError,
    MissingArgumentError,
    MissingParamsError,
    StateError,
    UnioptError,
)
from uniopt.hyperparameters import DtypeName, PerLeaf
from uniopt.place import Place
from uniopt.step import Step
from uniopt.transformation import check_state

if TYPE_CHECKING:
    from uniopt.leafwise import Leafwise


def run(
    stages: Sequence[Leafwise],
    step: Step,
    updates: list[Any],
    states: Sequence[Any],
    params: list[Any] | None,
    extra: dict[str, Any],
) -> tuple[list[Any], list[Any]]:
    """Return what the stages, one after another, make of the leaves, and their next states."""
    begun = [_Update(stage, step, updates, state, params, extra) for stage, state in zip(stages, states, strict=True)]
    through = [update.leaf for update in begun]
    results: list[Any] = []
    for i, (g, place) in enumerate(zip(updates, step.places, strict=True)):
        u = g
        if g is not None and place is not None and 0 not in g.shape:
            for leaf in through:
                u = leaf(i, u, place)
        results.append(u)
    return results, [update.state() for update in begun]


def resolved(backend: Backend, value: Any) -> Any:
    """Return a hyperparameter that names a dtype as the library's own dtype; others as they are."""
    return backend.dtype(value) if isinstance(value, DtypeName) else value


_NESTED = (list, tuple)  # the containers in which a slot may have several arrays for a leaf


class _Update:
    """One update of one stage."""

    def __init__(
        self,
        stage: Leafwise,
        step: Step,
        updates: list[Any],
        state: Any,
        params: list[Any] | None,
        extra: dict[str, Any],
    ) -> None:
        _check(stage, state, params, extra)
        self._stage = stage
        self._rule = stage.rule
        self._step = step
        self._xp = step.xp
        self._params = params
        self._extra = extra
        fields = stage.state._fields
        self._columns = [(fields.index(name), step.slot(getattr(state, name), f"state.{name}")) for name in stage.slots]
        # Looked up among the fields, because every tuple has a method called count.
        self._clock = Clock(step, getattr(state, stage.counter) if stage.counter in fields else None)
        self._varying = varying(stage.rule_hyper, step, updates if params is None else params)
        self._hyper: dict[Place, dict[str, Any]] = {}
        self._wants_params = "p" in stage.wants
        self._counts = step.counts if "t" in stage.wants else None
        self._each = bool(self._varying) or self._wants_params or self._counts is not None
        self._empty = stage.state(*[None] * len(fields))

    def leaf(self, i: int, g: Any, place: Place) -> Any:
        """Return what the rule makes of leaf `i`, and note the leaf's next slots."""
        stage, columns = self._stage, self._columns
        hyper = self._hyper.get(place)
        if hyper is None:
            hyper = self._hyper[place] = self._hyper_at(place)
        if self._each:
            self._adapt(hyper, i, place)
        before = self._before(i, place) if columns else self._empty
        try:
            result, after = self._rule(self._xp, g, before, **hyper)
        except (HyperparameterError, DtypeKindError) as error:  # the rule does not know which leaf it was given
            raise type(error)(f"At {self._step.path(i)}: {error}") from error
        except Exception as error:
            _explain(stage, self._step, i, g, before, error)
            raise
        if result.shape != g.shape:
            _refuse_shapes(stage, self._step, i, g, result, before, after)
        if columns and len(after) != len(before):
            raise StateError(
                f"{stage.name} returned a state of {len(after)} values for {self._step.path(i)}, expected the "
                f"{len(before)} of {stage.state.__name__}. Return the state that the rule was given, or "
                "state._replace(...)."
            )
        for k, column in columns:
            new, old = after[k], column[i]
            if type(old) in _NESTED:
                column[i] = _store(place, new, old)
                continue
            if new.shape != old.shape:
                _refuse_shapes(stage, self._step, i, g, result, before, after)
            # A 0-d array may have become a scalar.
            same = type(new) is type(old) and new.dtype == old.dtype
            column[i] = new if same else place.backend.astype(new, old.dtype)
        return result

    def _adapt(self, hyper: dict[str, Any], i: int, place: Place) -> None:
        """Put what differs from leaf to leaf among a rule's arguments."""
        if self._varying:
            time = Time(self._clock, place)
            hyper.update({name: time.value(name, values[i]) for name, values in self._varying.items()})
        if self._counts is not None:
            hyper["t"] = Time(Clock(self._step, self._counts[i]), place)
        if self._wants_params:
            hyper["p"] = self._params[i]  # type: ignore[index]  # _check has seen to it

    def _before(self, i: int, place: Place) -> Any:
        """Return the slots of leaf `i`, in the dtypes that are computed in."""
        dtype, slots = place.dtype, list(self._empty)
        for k, column in self._columns:
            slot = column[i]
            if type(slot) in _NESTED or slot.dtype != dtype:
                slot = _widen(place, slot)
            slots[k] = slot
        return tuple.__new__(self._stage.state, slots)  # as the class would, but for a call of Python's

    def state(self) -> Any:
        """Return the next state."""
        stage = self._stage
        trees = {name: self._step.rebuild(column) for name, (_, column) in zip(stage.slots, self._columns, strict=True)}
        if stage.counter in stage.state._fields:
            trees[stage.counter] = self._clock.next()
        return stage.state(**trees)

    def _hyper_at(self, place: Place) -> dict[str, Any]:
        stage = self._stage
        time = Time(self._clock, place)
        hyper = {name: resolved(place.backend, time.value(name, x)) for name, x in stage.rule_hyper.items()}
        if "t" in stage.wants:
            hyper["t"] = time
        return hyper | {name: time.value(name, self._extra[name]) for name in stage.wants if name in self._extra}


def varying(hyper: dict[str, Any], step: Step, leaves: list[Any]) -> dict[str, list[Any]]:
    """Return, for each hyperparameter that differs from leaf to leaf, its value for each of them."""
    found = {}
    for name, given in hyper.items():
        if isinstance(given, PerLeaf):
            reference = step.rebuild(leaves)
            values = given.values(reference) if callable(given.values) else given.values
            found[name] = tree.broadcast(values, reference, what=name)
    return found


def _check(stage: Leafwise, state: Any, params: list[Any] | None, extra: dict[str, Any]) -> None:
    check_state(stage.name, state, stage.state)
    if "p" in stage.wants and params is None:
        raise MissingParamsError(
            f"{stage.name} needs the parameters, but update was called without them. "
            "Call tx.update(grads, state, params)."
        )
    for name in stage.wants - {"p", "t"}:
        if extra.get(name) is not None:
            continue
        raise MissingArgumentError(
            f"{stage.name} needs the extra argument {name!r}, but update was called without it. "
            f"Call tx.update(grads, state, params, {name}=...)."
        )


def _explain(stage: Leafwise, step: Step, i: int, g: Any, before: Any, error: Exception) -> None:
    """Raise StateError if the rule may have failed because the slots belong to another tree."""
    if isinstance(error, UnioptError):
        return
    for name, slot in zip(stage.state._fields, before, strict=True):
        if getattr(slot, "ndim", 0) > 0 and slot.shape != g.shape:
            raise StateError(
                f"{step.path(i, f'state.{name}')} has shape {tuple(slot.shape)}, {step.path(i)} has shape "
                f"{tuple(g.shape)}, and {stage.name} failed: {error}. The state may belong to other parameters; "
                "call init with these."
            ) from error


def _refuse_shapes(stage: Leafwise, step: Step, i: int, g: Any, result: Any, before: Any, after: Any) -> None:
    for name, x, y in zip(stage.state._fields, before, after, strict=True):
        if _reshaped(x, y):
            raise StateError(
                f"{step.path(i, f'state.{name}')} has shape {tuple(x.shape)}, but {stage.name} needs shape "
                f"{tuple(y.shape)} for {step.path(i)}. The state belongs to other parameters; call init with these."
            )
    raise StateError(
        f"{stage.name} made an update of shape {tuple(result.shape)} for {step.path(i)} of shape {tuple(g.shape)}. "
        "The state may belong to other parameters; call init with these."
    )


def _reshaped(before: Any, after: Any) -> bool:
    return hasattr(before, "shape") and bool(before.shape != after.shape)


def _widen(place: Place, slot: Any) -> Any:
    """Return a slot in the dtype that is computed in: float32 for the 16-bit floats."""
    if type(slot) in _NESTED:
        return type(slot)(_widen(place, x) for x in slot)
    name = dtype_name(slot.dtype)
    wide = compute_dtype(name)
    return slot if wide == name else place.backend.astype(slot, place.backend.dtype(wide))


def _store(place: Place, new: Any, old: Any) -> Any:
    """Return a slot's new value in the dtype of the old one."""
    if type(old) in _NESTED:
        return type(old)(_store(place, x, y) for x, y in zip(new, old, strict=True))
    return place.backend.astype(new, old.dtype)
