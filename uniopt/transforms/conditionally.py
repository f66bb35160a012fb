"""Transforming on the steps that a function chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from uniopt.clock import Clock
from uniopt.conditional import condition, update_if, zeros
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.typing import Array


class ConditionFn(Protocol):
    """What `conditionally_transform` and `conditionally_mask` ask whether to transform in a step."""

    def __call__(self, step: Array, **extra_args: Any) -> Array | bool:
        """Return a condition, for the number of steps taken so far (a 0-d int32 array)."""
        ...


class ConditionallyTransformState(NamedTuple):
    """The state of the inner transformation, and the number of steps taken."""

    inner_state: Any
    step: Array  # int32, shape ()


class ConditionallyMaskState(NamedTuple):
    """The number of steps taken, and the state of the inner transformation."""

    step: Array  # int32, shape ()
    inner_state: Any


def conditionally_transform(
    inner: GradientTransformation, should_transform_fn: ConditionFn, forward_extra_args: bool = False
) -> GradientTransformation:
    """Transform on some steps only; on the others, the gradients and the inner state stay as they are.

    Parameters
    ----------
    inner
        The transformation.
    should_transform_fn
        ``should_transform_fn(step)`` returns whether to transform, a bool or a 0-d boolean array, for the number of
        steps taken so far, a 0-d int32 array.
    forward_extra_args
        Whether `should_transform_fn` is given the extra arguments of ``update`` too, as keyword arguments.

    Raises
    ------
    HyperparameterError
        At update, if `should_transform_fn` returns something else.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.conditionally_transform(uniopt.scale(10.0), lambda step: step % 2 == 1)
    >>> grads = np.asarray([1.0, 2.0])
    >>> first, state = tx.update(grads, tx.init(grads))
    >>> second, state = tx.update(grads, state)
    >>> first, second
    (array([1., 2.]), array([10., 20.]))
    """
    return transformation(Conditionally(stage_of(inner), should_transform_fn, forward_extra_args, masks=False))


def conditionally_mask(
    inner: GradientTransformation, should_transform_fn: ConditionFn, forward_extra_args: bool = False
) -> GradientTransformation:
    """Transform on some steps only; on the others, the updates are 0 and the inner state stays as it is.

    Parameters
    ----------
    inner, should_transform_fn, forward_extra_args
        As of `conditionally_transform`.

    Raises
    ------
    HyperparameterError
        At update, if `should_transform_fn` returns no condition.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.conditionally_mask(uniopt.sgd(0.5), lambda step, value: value < 1.0, forward_extra_args=True)
    >>> grads = np.asarray([1.0, 2.0])
    >>> tx.update(grads, tx.init(grads), value=3.0)[0]
    array([0., 0.])
    """
    return transformation(Conditionally(stage_of(inner), should_transform_fn, forward_extra_args, masks=True))


@dataclass(frozen=True, eq=False, repr=False)
class Conditionally(Stage):
    """The stage behind `conditionally_transform` and, where it `masks`, `conditionally_mask`."""

    inner: Stage
    should_transform_fn: ConditionFn
    forward_extra_args: bool
    masks: bool

    def __repr__(self) -> str:
        forward = f", forward_extra_args={self.forward_extra_args}" if self.forward_extra_args else ""
        function = getattr(self.should_transform_fn, "__name__", repr(self.should_transform_fn))
        return f"{self._name}({self.inner!r}, {function}{forward})"

    @property
    def _name(self) -> str:
        return "conditionally_mask" if self.masks else "conditionally_transform"

    @property
    def _state(self) -> type[Any]:
        return ConditionallyMaskState if self.masks else ConditionallyTransformState

    def init(self, step: Step, params: list[Any]) -> Any:
        return self._state(step=step.counter(), inner_state=self.inner.init(step, params))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state(self._name, state, self._state)
        forwarded = extra if self.forward_extra_args else {}
        chosen = condition("should_transform_fn", self.should_transform_fn(state.step, **forwarded))
        otherwise = zeros(step, updates) if self.masks else updates
        results, inner_state = update_if(
            step, chosen, self.inner, updates, state.inner_state, params, extra, otherwise=otherwise
        )
        return results, self._state(step=Clock(step, state.step).next(), inner_state=inner_state)
