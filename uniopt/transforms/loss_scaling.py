"""Training in float16: gradients of a scaled loss, and a scale that adapts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Clock
from uniopt.conditional import update_if, zeros
from uniopt.errors import HyperparameterError
from uniopt.finite import all_finite
from uniopt.numerics import increment
from uniopt.place import Place
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Array, Integer, Scalar

_LEAST, _LARGEST = 2.0**-126, 3.4e38  # within float32, and so are their inverses


class DynamicLossScalingState(NamedTuple):
    """The scale of the loss, how it has gone, and the state of the inner transformation."""

    scale: Array  # float32, shape ()
    growth_tracker: Array  # int32, shape (): finite steps in a row since the scale last changed
    last_finite: Array  # bool, shape (): whether the last gradients were finite
    total_notfinite: Array  # int32, shape (): steps that were left out
    inner_state: Any


def dynamic_loss_scaling(
    inner: GradientTransformation,
    init_scale: Scalar = 2.0**16,
    growth_factor: Scalar = 2.0,
    backoff_factor: Scalar = 0.5,
    growth_interval: Integer = 2000,
) -> GradientTransformation:
    """Transform the gradients of a scaled loss, and adapt the scale: as large as it can be without overflow.

    Small gradients are 0 in float16. The gradients of ``loss_scale(state) * loss`` are not; ``update`` divides them by
    the scale, in float32. If one is infinite or NaN, the updates are 0, the inner state stays as it is, and the scale
    is multiplied by `backoff_factor`. After `growth_interval` finite steps in a row it is multiplied by
    `growth_factor`.

    Parameters
    ----------
    inner
        The transformation; it sees gradients without the scale.
    init_scale
        The first scale.
    growth_factor
        Above 1.
    backoff_factor
        In (0, 1).
    growth_interval
        At least 1.

    Raises
    ------
    HyperparameterError
        If one is out of range.

    Notes
    -----
    The defaults and the scales are those of ``torch.amp.GradScaler``. The scale does not grow beyond float32, and does
    not fall to 0.

    See Also
    --------
    loss_scale

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.dynamic_loss_scaling(uniopt.sgd(1.0), init_scale=1024.0)
    >>> params = np.asarray([1.0, 2.0], dtype=np.float16)
    >>> state = tx.init(params)
    >>> grads = uniopt.loss_scale(state) * np.asarray([0.5, 0.25])  # of the scaled loss
    >>> updates, state = tx.update(grads.astype(np.float16), state, params)
    >>> updates
    array([-0.5 , -0.25], dtype=float16)
    >>> updates, state = tx.update(np.asarray([np.inf, 0.0], dtype=np.float16), state, params)
    >>> updates, uniopt.loss_scale(state)
    (array([0., 0.], dtype=float16), array(512., dtype=float32))
    """
    growth = hyperparameters.number("growth_factor", growth_factor)
    backoff = hyperparameters.positive("backoff_factor", backoff_factor)
    if isinstance(growth, float) and growth <= 1.0:
        raise HyperparameterError(f"growth_factor is {growth!r}, expected a number above 1 or a 0-d array.")
    if isinstance(backoff, float) and backoff >= 1.0:
        raise HyperparameterError(f"backoff_factor is {backoff!r}, expected a number in (0, 1) or a 0-d array.")
    interval = hyperparameters.integer("growth_interval", growth_interval, at_least=1)
    init = hyperparameters.positive("init_scale", init_scale)
    return transformation(DynamicLossScaling(stage_of(inner), init, growth, backoff, interval))


def loss_scale(state: DynamicLossScalingState) -> Array:
    """Return what to multiply the loss by before its gradients are taken, a 0-d float32 array.

    Parameters
    ----------
    state
        The state of `dynamic_loss_scaling`; where it is part of a chain, that part of the chain's state.

    Raises
    ------
    StateError
        If it is another state.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> state = uniopt.dynamic_loss_scaling(uniopt.sgd(0.1)).init(np.ones(2))
    >>> float(uniopt.loss_scale(state))
    65536.0
    """
    check_state("loss_scale", state, DynamicLossScalingState)
    return state.scale


@dataclass(frozen=True, eq=False, repr=False)
class DynamicLossScaling(Stage):
    """The stage behind `dynamic_loss_scaling`."""

    inner: Stage
    init_scale: Scalar
    growth_factor: Scalar
    backoff_factor: Scalar
    growth_interval: Integer

    def __repr__(self) -> str:
        return f"dynamic_loss_scaling({', '.join(f'{name}={x!r}' for name, x in vars(self).items())})"

    def init(self, step: Step, params: list[Any]) -> Any:
        count, backend = step.counter(), step.backend
        scale = backend.astype(count, step.xp.float32) + Place(backend, count, step.xp.float32).bring(self.init_scale)
        finite = backend.astype(count == 0, step.xp.bool)
        return DynamicLossScalingState(
            backend.astype(scale, step.xp.float32), count, finite, step.counter(), self.inner.init(step, params)
        )

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("dynamic_loss_scaling", state, DynamicLossScalingState)
        inverse = 1.0 / state.scale
        grads = [
            None if place is None else g * place.bring(inverse) for g, place in zip(updates, step.places, strict=True)
        ]
        finite = all_finite(step, grads, state.scale)
        results, inner_state = update_if(
            step, finite, self.inner, grads, state.inner_state, params, extra, otherwise=zeros(step, grads)
        )
        after = self._adapted(Clock(step, state.growth_tracker), state, finite)
        return results, after._replace(inner_state=inner_state)

    def _adapted(self, clock: Clock, state: Any, finite: Array) -> Any:
        """Return the state with the next scale and counters."""
        backend, xp = clock.backend, clock.xp
        near = Place(backend, state.scale, state.scale.dtype)
        steps = increment(xp, state.growth_tracker)
        grows = steps >= clock.integer("growth_interval", self.growth_interval)
        growth = near.bring(self.growth_factor)
        room = _LARGEST / growth
        grown = xp.where(grows & (state.scale <= room), xp.minimum(state.scale, room) * growth, state.scale)
        smaller = xp.maximum(state.scale * near.bring(self.backoff_factor), _LEAST)
        none = xp.zeros_like(steps)
        after = state._replace(
            scale=xp.where(finite, grown, smaller),
            growth_tracker=xp.where(finite & ~grows, steps, none),
            last_finite=finite,
            total_notfinite=xp.where(finite, state.total_notfinite, increment(xp, state.total_notfinite)),
        )
        return after._replace(
            **{name: backend.astype(getattr(after, name), getattr(state, name).dtype) for name in _SCALARS}
        )


_SCALARS = ("scale", "growth_tracker", "last_finite", "total_notfinite")
