"""Gradient transformations: a pair of pure functions, and the stages that they are made of."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from uniopt.backends import registry
from uniopt.errors import HyperparameterError, MissingParamsError, StateError
from uniopt.pairs import PairedStep, is_pair, paired_updates
from uniopt.step import Step
from uniopt.typing import Array, Tree


class GradientTransformation(NamedTuple):
    """A pair of pure functions that make optimizer states and turn gradients into updates.

    Attributes
    ----------
    init : callable
        ``init(params)`` returns the state before the first step, on the parameters' own library, devices and
        sharding.
    update : callable
        ``update(updates, state, params=None, **extra)`` returns ``(updates, state)``: the gradients, transformed,
        and the next state. `params` may be left out where nothing needs them. Extra keyword arguments reach every
        part of a chain; unknown ones are ignored.

    Notes
    -----
    The pair unpacks like a tuple, so optax, flax and equinox accept it. It pickles, compares and is hashed by its
    hyperparameters, and prints as the calls that make it.

    Nothing that is passed in is written to. An update has the dtype of its parameter (of its gradient, where no
    parameters are given); the arithmetic in between is done in float32 for 16-bit leaves. The updates of
    `master_weights`, `kahan_summation` and `stochastic_rounding` are float32 there: they say to which 16-bit number a
    parameter goes, and the difference of two need not be one.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]

    def __repr__(self) -> str:
        return repr(stage_of(self))


class Stage:
    """One part of a transformation, working on the leaves of a `Step` that has been checked already.

    Subclasses are frozen dataclasses: their fields are the hyperparameters, by which they compare and print.
    """

    def per_example(self) -> bool:
        """Return whether it takes the gradients of single examples, stacked along a first axis, and adds them up.

        It is asked only where gradients have another shape than their parameters.
        """
        return False

    @abstractmethod
    def init(self, step: Step, params: list[Any]) -> Any:
        """Return the state before the first step; `params` are the leaves, in their compute dtype."""

    @abstractmethod
    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        """Return the transformed leaves and the next state; a leaf of ``None`` is skipped."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, others = _fields(self), _fields(other)
        return all(_same(mine[name], others[name]) for name in mine)

    def __hash__(self) -> int:
        return hash(repr(self))


class Bound:
    """A function with its first arguments and its keywords bound, which compares by them.

    torch.compile can make none of a subclass of `functools.partial`.
    """

    def __init__(self, func: Callable[..., Any], /, *args: Any, **keywords: Any) -> None:
        self.func = func
        self.args = args
        self.keywords = keywords

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.func(*self.args, *args, **{**self.keywords, **keywords})

    @property
    def __signature__(self) -> inspect.Signature:
        # What functools.update_wrapper says that it stands for goes first.
        wrapped = getattr(self, "__wrapped__", None)
        return inspect.signature(wrapped or functools.partial(self.func, *self.args, **self.keywords))

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, others = (self.func, self.args, self.keywords), (other.func, other.args, other.keywords)
        return _same(mine, others)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        bound = [*map(repr, self.args), *(f"{key}={value!r}" for key, value in self.keywords.items())]
        return f"{self.func.__name__.lstrip('_')}({', '.join(bound)})"


def transformation(stage: Stage) -> GradientTransformation:
    """Return the pair of functions that run a stage."""
    return GradientTransformation(Bound(init, stage), Bound(update, stage))


def stage_of(tx: Any) -> Stage:
    """Return the stage that a transformation runs; any other pair of functions init and update becomes a `Foreign`."""
    try:
        # An object with both, as optax's MultiSteps is, need not be a tuple.
        has_both = not isinstance(tx, type) and hasattr(tx, "init") and hasattr(tx, "update")
        init_fn, update_fn = (tx.init, tx.update) if has_both else tx
    except (TypeError, ValueError):
        raise HyperparameterError(
            f"Found {tx!r}, expected a gradient transformation, which is a pair (init, update). "
            "Call the optimizer first, as in uniopt.adam(1e-3)."
        ) from None
    if isinstance(update_fn, Bound) and update_fn.func is update:
        stage: Stage = update_fn.args[0]
        return stage
    from uniopt.foreign import Foreign

    return Foreign(init_fn, update_fn)


def check_state(name: str, state: Any, expected: Any) -> None:
    """Raise StateError unless a state is an instance of the NamedTuple class that the named stage makes.

    Where there is nothing to remember, None and an empty container will do too, as they do in optax.
    """
    nothing = not expected._fields and (state is None or (type(state) in (dict, list, tuple) and not state))
    if type(state) is not expected and not nothing:
        raise StateError(
            f"{name} was given a state {_outline(type(state))}, expected {_outline(expected)}. "
            "Pass the state that this transformation's own init or update returned."
        )


def needed_params(name: str, params: list[Any] | None) -> list[Any]:
    """Return the parameters; MissingParamsError if the named stage was given none."""
    if params is None:
        raise MissingParamsError(
            f"{name} needs the parameters, but update was called without them. Call tx.update(grads, state, params)."
        )
    return params


def init(stage: Stage, /, params: Tree) -> Any:
    """Return the state of `stage` for `params`, before the first step."""
    step, leaves = Step.of_params(params.fast if is_pair(params) else params)
    return stage.init(step, leaves)


def update(stage: Stage, /, updates: Tree, state: Any, params: Tree = None, **extra: Any) -> tuple[Tree, Any]:
    """Return the updates that `stage` makes of gradients, and its next state."""
    if is_pair(params):
        paired, leaves, param_leaves = PairedStep.of_pair(updates, params, stage.per_example)
        results, state = stage.update(paired, leaves, state, param_leaves, extra)
        return paired_updates(paired, results, params), state
    step, leaves, param_leaves = Step.of_update(updates, params, per_example=stage.per_example)
    results, state = stage.update(step, leaves, state, param_leaves, extra)
    return step.rebuild(step.finish(results)), state


def _outline(cls: type[Any]) -> str:
    """Return a state class and its fields."""
    return f"{cls.__name__}({', '.join(cls._fields)})" if hasattr(cls, "_fields") else f"of type {cls.__name__}"


def _fields(stage: Any) -> dict[str, Any]:
    return {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if type(a) is not type(b):
        return False
    return _same_array(a, b) if registry.find(type(a)) is not None else bool(a == b)


def _same_array(a: Array, b: Array) -> bool:
    backend = registry.backend_of(a)
    if backend.is_traced(a) or backend.is_traced(b):
        return False
    x, y = backend.to_numpy(a), backend.to_numpy(b)
    return bool(x.shape == y.shape and x.dtype == y.dtype and (x == y).all())
