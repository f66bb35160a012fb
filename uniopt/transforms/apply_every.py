"""Sums of several gradients, handed on every few steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Clock, Time
from uniopt.leafwise import leafwise
from uniopt.numerics import in_dtype_of, zeros_like
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Array, Integer, Tree


class ApplyEvery(NamedTuple):
    """The sum so far, and of how many gradients it is."""

    count: Array  # int32, shape (): below k
    grad_acc: Tree  # like the parameters


def apply_every(k: Integer = 1) -> GradientTransformation:
    """Add up `k` gradients, and hand on their sum; in the steps in between, hand on zeros.

    Parameters
    ----------
    k
        How many gradients to add up, at least 1.

    Raises
    ------
    HyperparameterError
        If `k` is no integer of at least 1.

    Notes
    -----
    The other parts of a chain go on in every step, and see the zeros. `MultiSteps` is for an optimizer that is to take
    one step for several gradients.

    A sum begins with the gradient of the first of `k` steps. A leaf that has none then, ``None``, goes on with the sum
    before it, which has been handed on; give zeros instead.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.apply_every(2)
    >>> grads = np.asarray([1.0, 2.0])
    >>> first, state = tx.update(grads, tx.init(grads))
    >>> second, state = tx.update(grads, state)
    >>> first, second
    (array([0., 0.]), array([2., 4.]))
    """
    k = hyperparameters.integer("k", k, at_least=1)
    return transformation(ApplyEveryStage(stage_of(leafwise(ApplyEvery, _init, _apply_every, k=k)), k))


@dataclass(frozen=True, eq=False, repr=False)
class ApplyEveryStage(Stage):
    """The stage behind `apply_every`."""

    rule: Stage
    k: Integer

    def __repr__(self) -> str:
        return f"apply_every(k={self.k!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return self.rule.init(step, params)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("apply_every", state, ApplyEvery)
        results, after = self.rule.update(step, updates, state, params, extra)
        clock = Clock(step, after.count)
        count = clock.xp.where(after.count >= clock.integer("k", self.k), clock.xp.zeros_like(after.count), after.count)
        return results, after._replace(count=clock.backend.astype(count, clock.xp.int32))


def _init(xp: Any, p: Array) -> dict[str, Array]:
    return {"grad_acc": zeros_like(xp, p)}


def _apply_every(xp: Any, g: Array, s: ApplyEvery, *, t: Time, k: Integer) -> tuple[Array, ApplyEvery]:
    total = g + xp.where(t.is_first(), xp.zeros_like(g), s.grad_acc)
    return xp.where(t.once(_is_last, k), total, xp.zeros_like(g)), s._replace(grad_acc=total)


def _is_last(xp: Any, t: Array, k: Integer) -> Array:
    return t >= in_dtype_of(xp, t, k)
