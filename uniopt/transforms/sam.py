"""Sharpness-aware minimization: steps with the gradients at the worst point nearby."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, tree
from uniopt.clock import Clock
from uniopt.conditional import cond
from uniopt.errors import HyperparameterError, MissingArgumentError
from uniopt.library import numbers_as_arrays, outline
from uniopt.step import Step
from uniopt.transformation import (
    GradientTransformation,
    Stage,
    check_state,
    needed_params,
    stage_of,
    transformation,
)
from uniopt.transforms.copies import copies, copies_as
from uniopt.transforms.restart import restarted
from uniopt.typing import Array, Integer, Tree


class SAMState(NamedTuple):
    """The states of both optimizers, and the parameters from which the adversarial steps went out."""

    steps_since_sync: Array  # int32, shape ()
    opt_state: Any
    adv_state: Any
    cache: Tree  # like the parameters; None in opaque mode


def sam(
    optimizer: GradientTransformation,
    adv_optimizer: GradientTransformation,
    sync_period: Integer = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> GradientTransformation:
    r"""Minimize the worst loss nearby: climb, and step from where the climb began with the gradient at its end.

    With the parameters :math:`\theta` and the steps :math:`a` of the adversarial and :math:`u` of the outer optimizer,

    .. math::

        \theta' = \theta - a_1 - \dots - a_{k-1}, \qquad \theta \leftarrow \theta + u(\nabla f(\theta'))

    Parameters
    ----------
    optimizer
        The outer optimizer.
    adv_optimizer
        The adversarial optimizer. It is written as one that descends, and its steps are taken backwards.
    sync_period
        :math:`k`, one more than the number of adversarial steps for each step of the outer optimizer.
    reset_state
        Whether the adversarial optimizer begins again after each step of the outer one.
    opaque_mode
        Whether one call of ``update`` does all of the :math:`k` steps. It needs the extra argument ``grad_fn``:
        ``grad_fn(params, i)`` returns the gradients for adversarial step `i`, a tree like the parameters. Otherwise
        each call does one of them, and the parameters between the calls are those of the climb.
    batch_axis_name
        Name of the axis of ``jax.vmap``, ``jax.pmap`` or ``jax.shard_map`` over which the batch is spread. In opaque
        mode, what ``grad_fn`` returns is averaged over it; the gradients that ``update`` is given must be averaged
        already.

    Returns
    -------
    GradientTransformation
        Its state is `SAMState`. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If `sync_period` is no integer above 0, or `batch_axis_name` no string; at init and update in opaque mode, if
        the library has no named axes.
    MissingArgumentError
        At update in opaque mode, without ``grad_fn``.

    Notes
    -----
    Only the optimizer whose turn it is computes its update. With a `sync_period` of 1 this is the outer optimizer
    itself; in optax each step is then taken from the parameters before the last one.

    References
    ----------
    Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021, arXiv:2010.01412.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> climb = uniopt.chain(uniopt.normalize(), uniopt.sgd(0.5))
    >>> tx = uniopt.sam(uniopt.sgd(0.1), climb)
    >>> params = np.asarray([3.0, 4.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update(params, state, params)
    ...     params = uniopt.apply_updates(params, updates)
    ...     params
    array([3.3, 4.4])
    array([2.67, 3.56])
    """
    if batch_axis_name is not None and not isinstance(batch_axis_name, str):
        raise HyperparameterError(f"batch_axis_name is {batch_axis_name!r}, expected the name of an axis or None.")
    period = hyperparameters.integer("sync_period", sync_period, at_least=1)
    if opaque_mode and not isinstance(period, int):
        raise HyperparameterError(
            f"sync_period is {outline(period)}, expected an int in opaque mode, where it is the number of calls of "
            "grad_fn. Name it in the static_args of inject_hyperparams."
        )
    kind = OpaqueSam if opaque_mode else Sam
    return transformation(kind(stage_of(optimizer), stage_of(adv_optimizer), period, reset_state, batch_axis_name))


@dataclass(frozen=True, eq=False, repr=False)
class Sam(Stage):
    """The stage behind `sam`: in each call one step of one of the optimizers."""

    optimizer: Stage
    adv_optimizer: Stage
    sync_period: Integer
    reset_state: bool
    batch_axis_name: str | None

    def __repr__(self) -> str:
        return _outline(self, opaque_mode=False)

    def init(self, step: Step, params: list[Any]) -> Any:
        cache = step.rebuild(copies(step, step.leaves))
        return SAMState(step.counter(), self.optimizer.init(step, params), self.adv_optimizer.init(step, params), cache)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("sam", state, SAMState)
        values = needed_params("sam", params)
        xp, count = step.xp, state.steps_since_sync
        held = step.slot(state.cache, "state.cache")
        cache = cond(step, count == 0, lambda step: copies_as(step, values, held), lambda step: held)

        def outward(step: Step) -> tuple[list[Any], Any, Any]:
            start = step.widen(cache)
            moves, opt_state = self.optimizer.update(step, updates, state.opt_state, start, extra)
            moves = [None if u is None else c - p + u for c, p, u in zip(start, values, moves, strict=True)]
            adv_state = state.adv_state
            if self.reset_state:
                adv_state = restarted(self.adv_optimizer, step, adv_state, values, moves)
            return moves, opt_state, adv_state

        def upward(step: Step) -> tuple[list[Any], Any, Any]:
            moves, adv_state = self.adv_optimizer.update(step, updates, state.adv_state, values, extra)
            return [None if u is None else -u for u in moves], state.opt_state, adv_state

        due = count >= Clock(step, count).integer("sync_period", self.sync_period) - 1
        moves, opt_state, adv_state = cond(step, due, outward, upward)
        count = step.backend.astype(xp.where(due, xp.zeros_like(count), count + 1), xp.int32)
        return moves, SAMState(count, opt_state, adv_state, step.rebuild(cache))


@dataclass(frozen=True, eq=False, repr=False)
class OpaqueSam(Stage):
    """The stage behind `sam` in opaque mode: in each call all adversarial steps and one of the outer optimizer."""

    optimizer: Stage
    adv_optimizer: Stage
    sync_period: int
    reset_state: bool
    batch_axis_name: str | None

    def __repr__(self) -> str:
        return _outline(self, opaque_mode=True)

    def init(self, step: Step, params: list[Any]) -> Any:
        self._check_axis(step)
        return SAMState(step.counter(), self.optimizer.init(step, params), self.adv_optimizer.init(step, params), None)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("sam", state, SAMState)
        start = needed_params("sam", params)
        self._check_axis(step)
        if extra.get("grad_fn") is None:
            raise MissingArgumentError(
                "sam in opaque mode needs the extra argument 'grad_fn', but update was called without it. "
                "Call tx.update(grads, state, params, grad_fn=...) with a function of the parameters and the number of "
                "the adversarial step."
            )
        climbed, adv_state = start, state.adv_state
        for i in range(self.sync_period - 1):
            moves, adv_state = self.adv_optimizer.update(step, updates, adv_state, climbed, extra)
            climbed = step.narrow([None if u is None else p - u for p, u in zip(climbed, moves, strict=True)])
            updates = self._gradients(step, extra["grad_fn"](step.rebuild_params(climbed), i))
            climbed = step.widen(climbed)
        moves, opt_state = self.optimizer.update(step, updates, state.opt_state, start, extra)
        if self.reset_state:
            adv_state = restarted(self.adv_optimizer, step, adv_state, start, moves)
        return moves, SAMState(state.steps_since_sync, opt_state, adv_state, None)

    def _gradients(self, step: Step, found: Tree) -> list[Any]:
        """Return the leaves of what `grad_fn` returned, averaged over the axis that the batch is spread over."""
        leaves = tree.align(step.structure, found, step.rebuild(step.leaves), names=("updates", "grad_fn(params, i)"))
        present = [None if place is None else x for x, place in zip(leaves, step.places, strict=True)]
        grads = step.widen(numbers_as_arrays(step.backend, present, step.leaves))
        pmean = step.backend.pmean
        if self.batch_axis_name is None or pmean is None:
            return grads
        return [None if g is None else pmean(g, self.batch_axis_name) for g in grads]

    def _check_axis(self, step: Step) -> None:
        if self.batch_axis_name is not None and step.backend.pmean is None:
            raise HyperparameterError(
                f"batch_axis_name is {self.batch_axis_name!r}, but {step.backend.name} has no named axes. "
                "Leave it out, and average the gradients in grad_fn."
            )


def _outline(stage: Sam | OpaqueSam, *, opaque_mode: bool) -> str:
    axis = "" if stage.batch_axis_name is None else f", batch_axis_name={stage.batch_axis_name!r}"
    return (
        f"sam({stage.optimizer!r}, {stage.adv_optimizer!r}, sync_period={stage.sync_period!r}, "
        f"reset_state={stage.reset_state!r}, opaque_mode={opaque_mode!r}{axis})"
    )
