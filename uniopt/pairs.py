"""Parameters that come in pairs, fast and slow ones: the gradients belong to the fast ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from uniopt.step import Step
from uniopt.typing import Tree


class LookaheadParams(NamedTuple):
    """Two trees of parameters for `lookahead`, and two trees of updates for them.

    Take gradients at `fast`, and evaluate at `slow`.
    """

    fast: Tree
    slow: Tree

    @classmethod
    def init_synced(cls, params: Tree) -> LookaheadParams:
        """Return a pair of which both are these parameters."""
        return cls(fast=params, slow=params)


def is_pair(params: Tree) -> bool:
    """Return whether parameters are a pair, of this class or of the one that optax has."""
    return type(params).__name__ == "LookaheadParams" and getattr(params, "_fields", ()) == LookaheadParams._fields


class PairedStep(Step):
    """The step of the fast parameters, with the leaves of the slow ones.

    A transformation sees the fast parameters alone. Its results may be pairs, whose second half moves the slow ones;
    where they are not, the slow parameters take the steps of the fast ones.
    """

    __slots__ = ("slow", "slow_step")
    slow: list[Any]
    slow_step: Step

    @classmethod
    def of_pair(
        cls, updates: Tree, params: LookaheadParams, per_example: Callable[[], bool]
    ) -> tuple[PairedStep, list[Any], list[Any] | None]:
        """Return the step of ``update(updates, ..., params)``, and the leaves of updates and fast parameters."""
        slow_step, _, slow = Step.of_update(updates, params.slow, per_example=per_example)
        step, leaves, fast = Step.of_update(updates, params.fast, per_example=per_example)
        return cls._of(step, slow_step, [] if slow is None else slow), leaves, fast

    @classmethod
    def _of(cls, step: Step, slow_step: Step, slow: list[Any]) -> PairedStep:
        paired = cls(
            step.backend, step.structure, step._name, step.leaves, step.places, step._dtypes, counts=step.counts
        )
        paired.slow_step, paired.slow = slow_step, slow
        return paired

    def part(self, marked: Tree) -> tuple[Step, list[int]]:
        part, positions = super().part(marked)
        slow_part, _ = self.slow_step.part(marked)
        return self._of(part, slow_part, [self.slow[i] for i in positions]), positions

    def counted(self, counts: list[Any]) -> Step:
        return self._of(super().counted(counts), self.slow_step, self.slow)

    def aside(self) -> Step:
        return self._of(super().aside(), self.slow_step.aside(), self.slow)


def paired_updates(step: PairedStep, results: Sequence[Any], params: LookaheadParams) -> LookaheadParams:
    """Return the updates of both trees, a pair of the same class as the parameters."""
    fast, slow = ([x[k] if isinstance(x, LookaheadParams) else x for x in results] for k in (0, 1))
    return type(params)(fast=step.rebuild(step.narrow(fast)), slow=step.slow_step.rebuild(step.slow_step.narrow(slow)))
