"""Leaving out steps whose gradients are infinite or NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Clock
from uniopt.conditional import update_if, zeros
from uniopt.finite import all_finite
from uniopt.numerics import increment
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Array, Integer


class ApplyIfFiniteState(NamedTuple):
    """How often gradients were not finite, and the state of the inner transformation."""

    notfinite_count: Array  # int32, shape (): steps in a row
    last_finite: Array  # bool, shape (): whether the last gradients were finite
    total_notfinite: Array  # int32, shape (): steps altogether
    inner_state: Any


def apply_if_finite(inner: GradientTransformation, max_consecutive_errors: Integer) -> GradientTransformation:
    """Transform only gradients that are finite; otherwise the updates are 0 and the inner state stays as it is.

    Parameters
    ----------
    inner
        The transformation.
    max_consecutive_errors
        How many steps in a row may be left out; after that, the gradients are transformed whatever they are, so that
        the error shows.

    Raises
    ------
    HyperparameterError
        If `max_consecutive_errors` is no integer, or below 0.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.apply_if_finite(uniopt.sgd(0.5), max_consecutive_errors=3)
    >>> grads = np.asarray([1.0, np.nan])
    >>> updates, state = tx.update(grads, tx.init(grads))
    >>> updates, int(state.notfinite_count)
    (array([0., 0.]), 1)
    """
    most = hyperparameters.integer("max_consecutive_errors", max_consecutive_errors, at_least=0)
    return transformation(ApplyIfFinite(stage_of(inner), most))


@dataclass(frozen=True, eq=False, repr=False)
class ApplyIfFinite(Stage):
    """The stage behind `apply_if_finite`."""

    inner: Stage
    max_consecutive_errors: Integer

    def __repr__(self) -> str:
        return f"apply_if_finite({self.inner!r}, max_consecutive_errors={self.max_consecutive_errors!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        count = step.counter()
        finite = step.backend.astype(count == 0, step.xp.bool)
        return ApplyIfFiniteState(count, finite, step.counter(), self.inner.init(step, params))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("apply_if_finite", state, ApplyIfFiniteState)
        clock = Clock(step, state.notfinite_count)
        xp, astype = clock.xp, clock.backend.astype
        most = clock.integer("max_consecutive_errors", self.max_consecutive_errors)
        finite = all_finite(step, updates, state.notfinite_count)
        in_a_row = xp.where(finite, xp.zeros_like(state.notfinite_count), increment(xp, state.notfinite_count))
        total = xp.where(finite, state.total_notfinite, increment(xp, state.total_notfinite))
        results, inner_state = update_if(
            step,
            finite | (in_a_row > most),
            self.inner,
            updates,
            state.inner_state,
            params,
            extra,
            otherwise=zeros(step, updates),
        )
        counts = [astype(n, xp.int32) for n in (in_a_row, total)]
        return results, ApplyIfFiniteState(counts[0], astype(finite, xp.bool), counts[1], inner_state)
