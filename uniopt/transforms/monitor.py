"""Measurements of the updates, kept in the state to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from uniopt import hyperparameters, tree
from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.constants import constant
from uniopt.errors import HyperparameterError
from uniopt.foreign import call_update
from uniopt.library import numbers_as_arrays
from uniopt.place import is_number
from uniopt.step import Step
from uniopt.transformation import Bound, GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.transforms.ema import ema
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Scalar, Tree

Measure: TypeAlias = Callable[[Tree], Tree]


class SnapshotState(NamedTuple):
    """The last measurement, by its name."""

    measurement: dict[str, Tree]


class MonitorState(NamedTuple):
    """The last measurements by their names, and the states of the transformations that make them."""

    measurements: dict[str, Tree]
    measure_states: tuple[Any, ...]


def snapshot(measure_name: str, measure: Measure) -> GradientTransformation:
    """Keep in the state what a function says of the updates, which pass through unchanged.

    Parameters
    ----------
    measure_name
        The name of the measurement in the state.
    measure
        ``measure(updates)`` returns an array, a number or a tree of such. 16-bit leaves arrive as float32. To pickle
        the transformation, give a function of a module.

    Returns
    -------
    GradientTransformation
        Its state is `SnapshotState`. Before the first step it holds what is measured of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(0.5), uniopt.snapshot("largest", lambda updates: np.max(np.abs(updates))))
    >>> params = np.asarray([1.0, -4.0])
    >>> _, state = tx.update(params, tx.init(params))
    >>> state[1].measurement
    {'largest': array(2.)}
    """
    return transformation(Snapshot(measure_name, measure))


def monitor(measures: Mapping[str, Measure | GradientTransformation]) -> GradientTransformation:
    """Keep several measurements of the updates in the state; they pass through unchanged.

    Parameters
    ----------
    measures
        For each name a function as in `snapshot`, or a transformation, such as `measure_with_ema` makes: what its
        ``update`` returns is the measurement.

    Returns
    -------
    GradientTransformation
        Its state is `MonitorState`. Before the first step it holds what is measured of the parameters.

    Raises
    ------
    HyperparameterError
        If `measures` is no dict, or a measure is neither a function nor a transformation; at init or update, if it
        returns anything but arrays and numbers.

    Notes
    -----
    In optax the measurements are missing in the first state, so that its structure changes after the first step.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> def largest(updates):
    ...     return np.max(np.abs(updates))
    >>> tx = uniopt.monitor({"largest": largest, "usual": uniopt.measure_with_ema(largest, 0.5)})
    >>> state = tx.init(np.zeros(1))
    >>> for g in (2.0, 8.0):
    ...     _, state = tx.update(np.asarray([g]), state)
    >>> state.measurements
    {'largest': array(8.), 'usual': array(6.)}
    """
    given = hyperparameters.mapping("measures", measures, "names and measures")
    return transformation(Monitor({name: m if callable(m) else _checked(m) for name, m in given.items()}))


def measure_with_ema(
    measure: Measure, decay: Scalar, debias: bool = True, accumulator_dtype: Any = None
) -> GradientTransformation:
    """Return a measure for `monitor`: the running mean of what a function says of the updates.

    Parameters
    ----------
    measure
        A function as in `snapshot`. Bools and integers become real numbers, so that a condition has a frequency.
    decay, debias, accumulator_dtype
        As in `ema`.

    Raises
    ------
    HyperparameterError
        If `decay` is not in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> often = uniopt.measure_with_ema(lambda updates: np.max(updates) > 1.0, 0.5)
    >>> tx = uniopt.monitor({"often": often})
    >>> state = tx.init(np.zeros(1))
    >>> for g in (2.0, 0.0):
    ...     _, state = tx.update(np.asarray([g]), state)
    >>> round(float(state.measurements["often"]), 6)
    0.333333
    """
    mean = ema(decay, debias, accumulator_dtype)
    return GradientTransformation(Bound(_init_with_ema, measure, mean), Bound(_measure_with_ema, measure, mean))


@dataclass(frozen=True, eq=False, repr=False)
class Snapshot(Stage):
    """The stage behind `snapshot`."""

    measure_name: str
    measure: Measure

    def __repr__(self) -> str:
        return f"snapshot({self.measure_name!r}, {getattr(self.measure, '__name__', self.measure)})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return SnapshotState({self.measure_name: _measured(step, self.measure, params)})

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("snapshot", state, SnapshotState)
        return updates, self.init(step, updates)


@dataclass(frozen=True, eq=False, repr=False)
class Monitor(Stage):
    """The stage behind `monitor`."""

    measures: dict[str, Measure | GradientTransformation]

    def __repr__(self) -> str:
        measures = [f"{name!r}: {getattr(m, '__name__', m)}" for name, m in self.measures.items()]
        return f"monitor({{{', '.join(measures)}}})"

    def init(self, step: Step, params: list[Any]) -> Any:
        given = step.rebuild(params)
        states = [EmptyState() if callable(m) else m.init(given) for m in self.measures.values()]
        _, (measurements, _) = self.update(step, params, MonitorState({}, tuple(states)), params, {})
        return MonitorState(measurements, tuple(states))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("monitor", state, MonitorState)
        given, values = step.rebuild(updates), None if params is None else step.rebuild(params)
        measurements, states = {}, []
        for (name, m), before in zip(self.measures.items(), state.measure_states, strict=True):
            if callable(m):
                measurements[name], after = _measured(step, m, updates), before
            else:
                found, after = call_update(m.update, given, before, values, extra)
                measurements[name] = _arrays(step, m, found, updates)
            states.append(after)
        return updates, MonitorState(measurements, tuple(states))


def _init_with_ema(measure: Measure, mean: GradientTransformation, /, params: Tree) -> Any:
    step, leaves = Step.of_params(params)
    return EmptyState(), mean.init(_real(step, _measured(step, measure, leaves)))


def _measure_with_ema(
    measure: Measure,
    mean: GradientTransformation,
    /,
    updates: Tree,
    state: Any,
    params: Tree = None,
    **extra: Any,
) -> tuple[Tree, Any]:
    step, leaves, _ = Step.of_update(updates, params)
    averaged, after = mean.update(_real(step, _measured(step, measure, leaves)), state[1])
    return averaged, (state[0], after)


def _measured(step: Step, measure: Measure, leaves: list[Any]) -> Tree:
    """Return what a function says of the leaves."""
    return _arrays(step, measure, measure(step.rebuild(leaves)), leaves)


def _arrays(step: Step, measure: Any, measurement: Tree, leaves: list[Any]) -> Tree:
    """Return a measurement as a tree of arrays; numbers take the dtype of the first leaf."""
    found, structure = tree.flatten(measurement)
    for x in found:
        if not (x is None or is_number(x) or hasattr(x, "dtype")):
            name = getattr(measure, "__name__", measure)
            raise HyperparameterError(
                f"The measure {name} returned {x!r}, expected an array, a number, or a tree of such."
            )
    first = next((x for x in leaves if x is not None), None)
    arrays = numbers_as_arrays(step.backend, found, [first] * len(found))
    return tree.unflatten(structure, [None if x is None else step.backend.astype(x, x.dtype) for x in arrays])


def _real(step: Step, measurement: Tree) -> Tree:
    """Return a measurement with bools and integers as real numbers."""
    dtype = constant(step, 0.0).dtype
    exact = ("boolean", "integer")
    return tree.map(
        lambda x: step.backend.astype(x, dtype) if dtype_kind(dtype_name(x.dtype)) in exact else x, measurement
    )


def _checked(measure: GradientTransformation) -> GradientTransformation:
    stage_of(measure)
    return measure
