"""Smaller steps where the objective no longer falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Clock, Time
from uniopt.constants import constant
from uniopt.errors import HyperparameterError, MissingArgumentError
from uniopt.numerics import increment
from uniopt.place import Place
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, transformation
from uniopt.typing import Array, Integer, Scalar


class ReduceLROnPlateauState(NamedTuple):
    """The factor of the updates, and how the objective has gone."""

    scale: Array  # shape ()
    best_value: Array  # shape ()
    plateau_count: Array  # int32, shape (): values without improvement, in a row
    cooldown_count: Array  # int32, shape (): values that are still to be passed over
    count: Array  # int32, shape (): values in the mean so far
    avg_value: Array  # shape (): their mean


def reduce_on_plateau(
    factor: Scalar = 0.1,
    patience: Integer = 10,
    rtol: Scalar = 1e-4,
    atol: Scalar = 0.0,
    cooldown: Integer = 0,
    accumulation_size: Integer = 1,
    min_scale: Scalar = 0.0,
) -> GradientTransformation:
    r"""Scale the updates down when the objective has stopped falling.

    ``update`` needs the objective as ``value=``. Of `accumulation_size` values the mean :math:`v` is taken. It is an
    improvement over the best one :math:`v^*` so far if

    .. math::

        v < (1 - \epsilon_r)\, v^* - \epsilon_a .

    After `patience` means in a row without one, the scale is multiplied by `factor`.

    Parameters
    ----------
    factor
        What the scale is multiplied by, in (0, 1).
    patience
        How many means without improvement to wait for, at least 1.
    rtol, atol
        :math:`\epsilon_r` in [0, 1] and :math:`\epsilon_a`; not both 0.
    cooldown
        How many means to pass over after the scale has changed; they still count as the best one.
    accumulation_size
        Of how many values the mean is taken: 1 for a value on test data, more for the loss of a batch.
    min_scale
        The scale falls no lower.

    Raises
    ------
    HyperparameterError
        If one is out of range.
    MissingArgumentError
        At update, without ``value=``.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(1.0), uniopt.reduce_on_plateau(factor=0.5, patience=2))
    >>> params = np.asarray([1.0])
    >>> state = tx.init(params)
    >>> for value in (3.0, 2.0, 2.0, 2.0):
    ...     updates, state = tx.update(params, state, params, value=value)
    ...     print(updates)
    [-1.]
    [-1.]
    [-1.]
    [-0.5]
    """
    rtol = hyperparameters.fraction("rtol", rtol)
    atol = hyperparameters.nonnegative("atol", atol)
    factor = hyperparameters.positive("factor", factor)
    if isinstance(factor, float) and factor >= 1.0:
        raise HyperparameterError(f"factor is {factor!r}, expected a number in (0, 1) or a 0-d array.")
    if isinstance(rtol, float) and isinstance(atol, float) and rtol == atol == 0.0:
        raise HyperparameterError("rtol and atol are both 0, expected one of them above 0.")
    return transformation(
        ReduceOnPlateau(
            factor,
            hyperparameters.integer("patience", patience, at_least=1),
            rtol,
            atol,
            hyperparameters.integer("cooldown", cooldown, at_least=0),
            hyperparameters.integer("accumulation_size", accumulation_size, at_least=1),
            hyperparameters.nonnegative("min_scale", min_scale),
        )
    )


@dataclass(frozen=True, eq=False, repr=False)
class ReduceOnPlateau(Stage):
    """The stage behind `reduce_on_plateau`."""

    factor: Scalar
    patience: Integer
    rtol: Scalar
    atol: Scalar
    cooldown: Integer
    accumulation_size: Integer
    min_scale: Scalar

    def __repr__(self) -> str:
        return f"reduce_on_plateau({', '.join(f'{name}={x!r}' for name, x in vars(self).items())})"

    def init(self, step: Step, params: list[Any]) -> Any:
        one, best, mean = (constant(step, x) for x in (1.0, float("inf"), 0.0))
        # The counts are where the other numbers are, which they meet.
        plateau, cooldown, count = (constant(step, 0, "int32") for _ in range(3))
        return ReduceLROnPlateauState(one, best, plateau, cooldown, count, mean)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("reduce_on_plateau", state, ReduceLROnPlateauState)
        if extra.get("value") is None:
            raise MissingArgumentError(
                "reduce_on_plateau needs the extra argument 'value', but update was called without it. "
                "Call tx.update(grads, state, params, value=...)."
            )
        after = self._observed(Clock(step, state.count), state, extra["value"])
        scaled = [
            None if place is None else place.bring(after.scale) * g
            for g, place in zip(updates, step.places, strict=True)
        ]
        return scaled, after

    def _observed(self, clock: Clock, state: Any, value: Any) -> Any:
        """Return the state after one more value."""
        backend, xp = clock.backend, clock.xp
        near = Place(backend, state.scale, state.scale.dtype)
        time = Time(clock, near)
        value = time.observed("value", value)
        factor, rtol, atol, min_scale = (
            time.value(name, getattr(self, name)) for name in ("factor", "rtol", "atol", "min_scale")
        )
        patience, cooldown, accumulation_size = (
            clock.integer(name, getattr(self, name)) for name in ("patience", "cooldown", "accumulation_size")
        )
        count = near.bring(state.count)
        mean = (count * state.avg_value + value) / (count + 1)

        first = xp.isinf(state.best_value)  # if rtol is 1, 0 * inf is NaN
        known = xp.where(first, xp.zeros_like(state.best_value), state.best_value)
        improved = mean < xp.where(first, state.best_value, (1 - rtol) * known - atol)
        zero = xp.zeros_like(state.plateau_count)
        waited = xp.where(improved, zero, increment(xp, state.plateau_count))
        cooling = state.cooldown_count > 0
        over = (waited >= patience) & ~cooling
        complete = state.count + 1 >= accumulation_size

        reduced = xp.maximum(xp.where(over, state.scale * factor, state.scale), min_scale)
        seen = ReduceLROnPlateauState(
            scale=xp.where(cooling, state.scale, reduced),
            best_value=xp.where(improved, mean, state.best_value),
            plateau_count=xp.where(cooling | over, zero, waited),
            cooldown_count=xp.where(cooling, state.cooldown_count - 1, xp.where(over, zero + cooldown, zero)),
            count=zero,
            avg_value=xp.zeros_like(state.avg_value),
        )
        unseen = state._replace(count=state.count + 1, avg_value=mean)
        chosen = (xp.where(complete, x, y) for x, y in zip(seen, unseen, strict=True))
        return ReduceLROnPlateauState(*(backend.astype(x, old.dtype) for x, old in zip(chosen, state, strict=True)))
