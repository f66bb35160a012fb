"""A step count of its own for each leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt.clock import Clock
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Tree


class CountByLeafState(NamedTuple):
    """The number of steps that each leaf has taken, and the state of the inner transformation."""

    counts: Tree  # one int32 a leaf, shape ()
    inner_state: Any


def count_by_leaf(inner: GradientTransformation) -> GradientTransformation:
    """Let a transformation count the steps of each leaf by itself.

    A leaf whose gradient is ``None`` does not count the step, so that bias corrections, and all else that follows from
    the number of steps, are those of the steps that it has taken.

    Parameters
    ----------
    inner
        The transformation; a chain counts once for all of its parts.

    Notes
    -----
    It is how torch counts. Schedules are no part of it: they go on with every update, as torch's schedulers do.

    Examples
    --------
    The second leaf comes two steps later, and begins as the first one has begun:

    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.count_by_leaf(uniopt.adam(0.1))
    >>> state = tx.init({"a": np.ones(1), "b": np.ones(1)})
    >>> for b in (None, None, np.ones(1)):
    ...     updates, state = tx.update({"a": np.ones(1), "b": b}, state)
    >>> updates["b"].round(6)
    array([-0.1])
    >>> state.counts
    {'a': array(3, dtype=int32), 'b': array(1, dtype=int32)}
    """
    return transformation(CountByLeaf(stage_of(inner)))


@dataclass(frozen=True, eq=False, repr=False)
class CountByLeaf(Stage):
    """The stage behind `count_by_leaf`."""

    inner: Stage

    def __repr__(self) -> str:
        return f"count_by_leaf({self.inner!r})"

    def per_example(self) -> bool:
        return self.inner.per_example()

    def init(self, step: Step, params: list[Any]) -> Any:
        asarray, dtype = step.backend.asarray, step.xp.int32
        counts = [None if p is None else asarray(0, dtype=dtype, like=p) for p in params]
        return CountByLeafState(step.rebuild(counts), self.inner.init(step, params))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("count_by_leaf", state, CountByLeafState)
        counts = step.slot(state.counts, "state.counts")
        updates, inner_state = self.inner.update(step.counted(counts), updates, state.inner_state, params, extra)
        after = [n if place is None else Clock(step, n).next() for n, place in zip(counts, step.places, strict=True)]
        return updates, CountByLeafState(step.rebuild(after), inner_state)
