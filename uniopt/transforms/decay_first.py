"""Weight decay in place, before another transformation sees the parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.leafwise import leafwise
from uniopt.step import Step
from uniopt.transformation import (
    GradientTransformation,
    Stage,
    check_state,
    needed_params,
    stage_of,
    transformation,
)
from uniopt.transforms.decay import WeightDecaySchedule
from uniopt.transforms.mask import mask_text, masked
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule


class DecayFirstState(NamedTuple):
    """The state of the weight decay, and that of the transformation that it goes before."""

    decay_state: Any
    inner_state: Any


def decay_first(
    inner: GradientTransformation, learning_rate: ScalarOrSchedule, weight_decay: Scalar, mask: Mask | None = None
) -> GradientTransformation:
    r"""Let the parameters decay first, and give those to another transformation.

    .. math::

        \tilde p = p - p \lambda \eta, \qquad u = \mathrm{inner}(g, \tilde p) + (\tilde p - p)

    It is the decoupled weight decay of keras, where trust ratios and the sizes of parameters are those after the decay.

    Parameters
    ----------
    inner
        An optimizer, its learning rate included.
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    weight_decay
        :math:`\lambda`: a number or a 0-d array.
    mask
        Which parameters decay: a tree of bools like the parameters, a prefix of one, or a function from the
        parameters to one. By default all do.

    Returns
    -------
    GradientTransformation
        Its state is a `DecayFirstState`. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> relative = uniopt.chain(uniopt.scale_by_param_block_norm(), uniopt.scale(-0.5))
    >>> tx = uniopt.decay_first(relative, learning_rate=0.5, weight_decay=0.5)
    >>> params = np.asarray([4.0])
    >>> tx.update(np.ones(1), tx.init(params), params)[0]  # 4 decays to 3, and goes on by half of that
    array([-2.5])
    """
    return transformation(
        DecayFirst(
            stage_of(inner),
            hyperparameters.learning_rate(learning_rate),
            hyperparameters.nonnegative("weight_decay", weight_decay),
            hyperparameters.mask("mask", mask),
        )
    )


@dataclass(frozen=True, eq=False, repr=False)
class DecayFirst(Stage):
    """The stage behind `decay_first`."""

    inner: Stage
    learning_rate: ScalarOrSchedule
    weight_decay: Scalar
    mask: Mask | None
    decay: Stage = field(init=False)

    def __post_init__(self) -> None:
        state = WeightDecaySchedule if callable(self.learning_rate) else EmptyState
        tx = leafwise(state, None, _decayed, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        object.__setattr__(self, "decay", stage_of(tx if self.mask is None else masked(tx, self.mask)))

    def __repr__(self) -> str:
        mask = "" if self.mask is None else f", mask={mask_text(self.mask)}"
        return (
            f"decay_first({self.inner!r}, learning_rate={self.learning_rate!r}, "
            f"weight_decay={self.weight_decay!r}{mask})"
        )

    def init(self, step: Step, params: list[Any]) -> Any:
        return DecayFirstState(self.decay.init(step, params), self.inner.init(step, params))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("decay_first", state, DecayFirstState)
        params = needed_params("decay_first", params)
        decayed, decay_state = self.decay.update(step, params, state.decay_state, params, {})
        results, inner_state = self.inner.update(step, updates, state.inner_state, decayed, extra)
        moved = [
            u if u is None or small is p else u + (small - p)
            for u, small, p in zip(results, decayed, params, strict=True)
        ]
        return moved, DecayFirstState(decay_state, inner_state)


def _decayed(xp: Any, p: Array, s: Any, *, learning_rate: Scalar, weight_decay: Scalar) -> tuple[Array, Any]:
    return p - p * weight_decay * learning_rate, s
