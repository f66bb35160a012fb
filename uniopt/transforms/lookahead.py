"""Lookahead: slow parameters that follow fast ones from time to time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Clock
from uniopt.conditional import cond
from uniopt.errors import MissingParamsError
from uniopt.pairs import LookaheadParams, PairedStep
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.transforms.restart import restarted
from uniopt.typing import Array, Integer, Scalar


class LookaheadState(NamedTuple):
    """The state of the fast optimizer, and the number of its steps since the parameters were synchronized."""

    fast_state: Any
    steps_since_sync: Array  # int32, shape ()


def lookahead(
    fast_optimizer: GradientTransformation, sync_period: Integer, slow_step_size: Scalar, reset_state: bool = False
) -> GradientTransformation:
    r"""Take steps with fast parameters, and every few steps one of the slow parameters towards them.

    .. math::

        \theta &\leftarrow \theta + u \\
        \text{every } k \text{ steps: } \phi &\leftarrow \phi + \alpha (\theta - \phi), \quad \theta \leftarrow \phi

    Its parameters are `LookaheadParams`. The gradients are those at ``params.fast``, :math:`\theta`; evaluate at
    ``params.slow``, :math:`\phi`. The updates are `LookaheadParams` too.

    Parameters
    ----------
    fast_optimizer
        What makes the updates :math:`u` of the fast parameters.
    sync_period
        :math:`k`, the number of fast steps for one slow step.
    slow_step_size
        :math:`\alpha`, a number or a 0-d array.
    reset_state
        Whether the fast optimizer begins again after each slow step.

    Returns
    -------
    GradientTransformation
        Its state is `LookaheadState`. Its ``init`` takes fast parameters alone, too.

    Raises
    ------
    HyperparameterError
        If `sync_period` is no integer above 0, or `slow_step_size` no number.
    MissingParamsError
        At update, if the parameters are no `LookaheadParams`.

    Notes
    -----
    Place it last in a chain: its updates must reach the parameters as they are. The transformations before it see the
    fast parameters. Parameters that it does not transform (in `masked` or `partition`) move alike in both trees.

    With `reset_state` the fast optimizer begins at the synchronized parameters; in optax, at the fast ones before the
    step. They are told apart only by optimizers that keep parameters in their state.

    References
    ----------
    Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019, arXiv:1907.08610.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.lookahead(uniopt.sgd(0.5), sync_period=2, slow_step_size=0.5)
    >>> params = uniopt.LookaheadParams.init_synced(np.asarray([4.0]))
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update(params.fast, state, params)
    ...     params = uniopt.apply_updates(params, updates)
    ...     params
    LookaheadParams(fast=array([2.]), slow=array([4.]))
    LookaheadParams(fast=array([2.5]), slow=array([2.5]))
    """
    return transformation(
        Lookahead(
            stage_of(fast_optimizer),
            hyperparameters.integer("sync_period", sync_period, at_least=1),
            hyperparameters.number("slow_step_size", slow_step_size),
            reset_state,
        )
    )


@dataclass(frozen=True, eq=False, repr=False)
class Lookahead(Stage):
    """The stage behind `lookahead`."""

    fast: Stage
    sync_period: Integer
    slow_step_size: Scalar
    reset_state: bool

    def __repr__(self) -> str:
        return (
            f"lookahead({self.fast!r}, sync_period={self.sync_period!r}, slow_step_size={self.slow_step_size!r}, "
            f"reset_state={self.reset_state!r})"
        )

    def per_example(self) -> bool:
        return self.fast.per_example()

    def init(self, step: Step, params: list[Any]) -> Any:
        return LookaheadState(self.fast.init(step, params), step.counter())

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("lookahead", state, LookaheadState)
        if params is None or not isinstance(step, PairedStep):
            raise MissingParamsError(
                "lookahead needs fast and slow parameters, but update was called "
                f"{'without parameters' if params is None else 'with one tree of parameters'}. "
                "Begin with params = uniopt.LookaheadParams.init_synced(params), and call "
                "tx.update(grads, state, params)."
            )
        xp, slow = step.xp, step.slow
        moves, fast_state = self.fast.update(step, updates, state.fast_state, params, extra)

        def synchronize(step: Step) -> tuple[list[Any], list[Any], Any]:
            fast_moves, slow_moves = list(moves), list(moves)
            for i, (place, u) in enumerate(zip(step.places, moves, strict=True)):
                if place is not None:
                    behind = params[i] + u - slow[i]
                    share = place.bring(self.slow_step_size)
                    fast_moves[i], slow_moves[i] = u - (1 - share) * behind, share * behind
            after = restarted(self.fast, step, fast_state, params, fast_moves) if self.reset_state else fast_state
            return fast_moves, slow_moves, after

        def go_on(step: Step) -> tuple[list[Any], list[Any], Any]:
            return moves, [None if u is None else xp.zeros_like(u) for u in moves], fast_state

        period = Clock(step, state.steps_since_sync).integer("sync_period", self.sync_period)
        due = state.steps_since_sync >= period - 1
        fast_moves, slow_moves, fast_state = cond(step, due, synchronize, go_on)
        count = xp.where(due, xp.zeros_like(state.steps_since_sync), state.steps_since_sync + 1)
        results = [None if u is None else LookaheadParams(u, v) for u, v in zip(fast_moves, slow_moves, strict=True)]
        return results, LookaheadState(fast_state, step.backend.astype(count, xp.int32))
