"""Hyperparameters in the state, where they can be read and set between steps."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, NamedTuple

from uniopt import hyperparameters, tree
from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.clock import Clock
from uniopt.constants import constant
from uniopt.errors import HyperparameterError, ScheduleError, StateError
from uniopt.hyperparameters import DtypeName
from uniopt.library import outline
from uniopt.norms import meeting
from uniopt.schedules.stateful import StatefulSchedule, WrappedSchedule
from uniopt.step import Step
from uniopt.transformation import Bound, GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Array, Integer, Scalar, Tree


class InjectStatefulHyperparamsState(NamedTuple):
    """The hyperparameters of a transformation, and its state."""

    count: Array  # int32, shape ()
    hyperparams: dict[str, Array]  # shape (): of the last update, and those that have no schedule of the next one
    hyperparams_states: dict[str, Tree]  # of the schedules
    inner_state: Any


def inject_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Any = None,
) -> Callable[..., GradientTransformation]:
    """Return a function like `inner_factory` whose transformation has its hyperparameters in the state.

    ``state.hyperparams`` is a dict of 0-d arrays. Those that are numbers may be set between steps, to a number or a 0-d
    array; those that are schedules show the value of the last update.

    Parameters
    ----------
    inner_factory
        A function that returns a transformation, such as `adamw`.
    static_args
        Names of parameters to leave as they are.
    hyperparam_dtype
        Dtype of the hyperparameters; by default the widest that parameters are computed in: float32 for 16-bit ones.

    Returns
    -------
    callable
        It takes the arguments of `inner_factory`. A number or a 0-d array becomes a hyperparameter in the state, a
        function a schedule of the step count (from 0), for every parameter; a `StatefulSchedule` is given the extra
        arguments of ``update`` as well.

    Raises
    ------
    HyperparameterError
        If `inner_factory` is no function, or `static_args` names none of its parameters.

    Notes
    -----
    Hyperparameters are real, and those of parameters that are annotated `Integer`, such as ``sync_period``, int32: they
    may be set to integers alone, and what a schedule returns for one is rounded. A count that has reached a number of
    steps by the time it is set to that, or gone beyond it, has reached it at the next step.

    Arguments that are not numbers stay as they are: bools, strings, ``None``, trees, dtypes; so do functions of a
    parameter that is annotated as a mask or a function (``every_k_schedule``, which counts updates, is one), and
    numbers of one that is annotated ``int``. Those are seeds and keys, which are in the state from ``init`` on, and
    what decides the state's structure or the operations: axes, ``min_dim_size_to_factor``, ``num_betas``, ``ns_steps``,
    and keras's ``gradient_accumulation_steps`` and ``ema_overwrite_frequency``, of which 0 is for none. ``sync_period``
    of `sam` in opaque mode, the number of calls of ``grad_fn``, must be named in `static_args` unless the arrays are
    NumPy's and steps are not compiled. (optax makes hyperparameters of all integers, and schedules of all functions,
    unless they are static.)

    The arithmetic is that of the transformation with the same numbers, rounded to the hyperparameters' dtype.

    A compiled step is not compiled again when a hyperparameter is set to a number, or to an array of the same dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.inject_hyperparams(uniopt.sgd)(learning_rate=0.5)
    >>> params = np.asarray([1.0, 2.0])
    >>> state = tx.init(params)
    >>> state.hyperparams["learning_rate"] = 0.25
    >>> updates, state = tx.update(np.asarray([1.0, 1.0]), state, params)
    >>> updates, state.hyperparams["learning_rate"]
    (array([-0.25, -0.25]), array(0.25))
    """
    if not callable(inner_factory):
        raise HyperparameterError(
            f"inner_factory is {inner_factory!r}, expected a function that returns a transformation, and not what it "
            "returns: inject_hyperparams(uniopt.adam)(learning_rate=1e-3)."
        )
    names = (static_args,) if isinstance(static_args, str) else tuple(static_args)
    known = inspect.signature(inner_factory).parameters
    if not known.keys() >= set(names):
        raise HyperparameterError(
            f"static_args names {sorted(set(names) - known.keys())}, expected parameters of {inner_factory!r}: "
            f"{', '.join(known)}."
        )
    dtype = hyperparameters.real_dtype("hyperparam_dtype", hyperparam_dtype)
    # Without the factory's own attributes: a factory may be a `Bound` too.
    return update_wrapper(Bound(_injected, inner_factory, names, dtype), inner_factory, updated=())


inject_stateful_hyperparams = inject_hyperparams
"""The name that optax had for it, before both were one."""


def _injected(
    factory: Callable[..., GradientTransformation],
    static_args: tuple[str, ...],
    dtype: DtypeName | None,
    /,
    *args: Any,
    **kwargs: Any,
) -> GradientTransformation:
    signature = inspect.signature(factory)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    given = {
        name: _injectable(value, signature.parameters[name])
        for name, value in bound.arguments.items()
        if name not in static_args
    }
    injected = {name: value for name, value in given.items() if value is not None}
    integers = frozenset(name for name in injected if "Integer" in _words(signature.parameters[name]))
    return transformation(Injected(factory, static_args, dtype, dict(bound.arguments), injected, integers))


def _injectable(value: Any, parameter: inspect.Parameter) -> Scalar | StatefulSchedule | None:
    """Return a number, an array or a schedule that can be a hyperparameter; None for anything else."""
    words = _words(parameter)
    if isinstance(value, bool | type) or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    if "int" in words and words.isdisjoint(("float", "Scalar", "ScalarOrSchedule", "Integer")):  # an axis, a seed
        return None
    if isinstance(value, StatefulSchedule):
        return value
    if callable(value):
        return WrappedSchedule(value) if words.isdisjoint(("Mask", "Callable", "Schedule")) else None
    return value if _is_integer(value) or ("Integer" not in words and _is_number(value)) else None


def _words(parameter: inspect.Parameter) -> set[str]:
    """Return the words of a parameter's annotation."""
    return set(re.findall(r"\w+", str(parameter.annotation)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or _is_scalar(value, "real", "integer")


def _is_integer(value: Any) -> bool:
    return type(value) is int or _is_scalar(value, "integer")


def _is_scalar(value: Any, *kinds: str) -> bool:
    """Return whether a value is a 0-d array of some kind of dtype."""
    is_scalar = registry.find(type(value)) is not None and tuple(value.shape) == ()
    return is_scalar and dtype_kind(dtype_name(value.dtype)) in kinds


def _is_int32(value: Any) -> bool:
    """Return whether a number is an integer that int32 holds; of an array that may have no value yet, the former."""
    backend = registry.find(type(value))
    at_hand = backend is None or backend.name == "numpy"
    return _is_integer(value) and (not at_hand or -(2**31) <= int(value) < 2**31)


def _rounded(value: Scalar) -> Integer:
    """Return the nearest integer; for a 0-d array, one of int32."""
    backend = registry.find(type(value))
    return round(value) if backend is None else backend.astype(backend.xp.round(value), backend.xp.int32)


@dataclass(frozen=True, eq=False, repr=False)
class Injected(Stage):
    """The stage behind `inject_hyperparams`.

    Attributes
    ----------
    arguments
        Those of the factory.
    injected
        The numbers, arrays and schedules among them that are hyperparameters.
    integers
        The names of those that are integers.
    """

    factory: Callable[..., GradientTransformation]
    static_args: tuple[str, ...]
    dtype: DtypeName | None
    arguments: dict[str, Any]
    injected: dict[str, Any]
    integers: frozenset[str]

    def __repr__(self) -> str:
        static = f", static_args={self.static_args!r}" if self.static_args else ""
        dtype = f", hyperparam_dtype={self.dtype!r}" if self.dtype else ""
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        name = getattr(self.factory, "__name__", self.factory)
        return f"inject_hyperparams({name}{static}{dtype})({given})"

    @property
    def _schedules(self) -> dict[str, StatefulSchedule]:
        return {name: x for name, x in self.injected.items() if isinstance(x, StatefulSchedule)}

    def per_example(self) -> bool:
        return self._stage(self._scheduled({name: x.init() for name, x in self._schedules.items()}, {})).per_example()

    def init(self, step: Step, params: list[Any]) -> Any:
        states = {name: tree.map(lambda x: self._made(step, x), x.init()) for name, x in self._schedules.items()}
        scheduled = self._scheduled(states, {})
        hyper = {name: self._array(step, name, scheduled.get(name, x)) for name, x in self.injected.items()}
        return InjectStatefulHyperparamsState(step.counter(), hyper, states, self._stage(hyper).init(step, params))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("inject_hyperparams", state, InjectStatefulHyperparamsState)
        if state.hyperparams.keys() != self.injected.keys():
            raise StateError(
                f"state.hyperparams has {', '.join(state.hyperparams) or 'nothing'}, expected "
                f"{', '.join(self.injected) or 'nothing'}. Set the value of one that is there."
            )
        states = state.hyperparams_states
        scheduled = self._scheduled(states, extra)
        hyper = {name: self._array(step, name, scheduled.get(name, x)) for name, x in state.hyperparams.items()}
        results, inner_state = self._stage(hyper).update(step, updates, state.inner_state, params, extra)
        after = {name: x.update(states[name], **extra) for name, x in self._schedules.items()}
        count = Clock(step, state.count).next()
        return results, InjectStatefulHyperparamsState(count, hyper, after, inner_state)

    def _scheduled(self, states: dict[str, Tree], extra: dict[str, Any]) -> dict[str, Scalar]:
        """Return the values of the schedules."""
        values = {name: x(states[name], **extra) for name, x in self._schedules.items()}
        return {name: _rounded(x) if name in self.integers and _is_number(x) else x for name, x in values.items()}

    def _stage(self, hyper: Mapping[str, Array]) -> Stage:
        """Return the transformation that the factory makes of these hyperparameters."""
        bound = inspect.signature(self.factory).bind_partial()
        bound.arguments.update({name: hyper.get(name, x) for name, x in self.arguments.items()})
        return stage_of(self.factory(*bound.args, **bound.kwargs))

    def _array(self, step: Step, name: str, value: Any) -> Array:
        """Return a hyperparameter as a 0-d array: a number in the hyperparameters' dtype, an array as it is.

        Arrays of integers that are not to be integers are taken for numbers.
        """
        backend, is_integer = step.backend, name in self.integers
        if not _is_number(value):
            raise ScheduleError(f"The hyperparameter {name} is {value!r}, expected a number or a 0-d array.")
        if is_integer and not _is_int32(value):
            raise HyperparameterError(
                f"The hyperparameter {name} is {outline(value)}, expected an integer of int32 or a 0-d array of one."
            )
        found = registry.find(type(value))
        if found is not None and (backend.accepts(found) or not any(x is not None for x in step.leaves)):
            is_kept = is_integer or _is_scalar(value, "real")
            return found.astype(value, value.dtype if is_kept else found.dtype(self._dtype(step)))
        if found is not None and found.name != "numpy":
            raise StateError(
                f"state.hyperparams[{name!r}] is an array of {found.name}, the parameters are of {backend.name}. "
                f"Set it to a Python number, or to a 0-d array of {backend.name}."
            )
        return self._made(step, int(value) if is_integer else float(value))

    def _dtype(self, step: Step) -> str:
        where = meeting(step.places)
        return self.dtype or ("float32" if where is None else dtype_name(where.scalar_dtype))

    def _made(self, step: Step, value: Any) -> Array:
        """Return a Python number as a 0-d array; an array as it is."""
        if hasattr(value, "dtype"):
            return value
        kind = "bool" if isinstance(value, bool) else "int32" if isinstance(value, int) else self._dtype(step)
        return constant(step, value, kind)
