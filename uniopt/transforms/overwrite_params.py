"""Taking the average of the parameters in their place, every so many steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uniopt import hyperparameters
from uniopt.clock import Clock
from uniopt.errors import HyperparameterError
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, needed_params, stage_of, transformation
from uniopt.transforms.params_average import OfNextParams
from uniopt.typing import Integer


def overwrite_params(
    average: GradientTransformation, every: Integer, mini_steps: Integer = 1
) -> GradientTransformation:
    r"""Average the parameters, and put the average in their place every so many steps, as keras does.

    Parameters
    ----------
    average
        `params_ema` or `params_mean`.
    every
        In each step :math:`t` that is a multiple of it, the parameters become their average.
    mini_steps
        Number of calls of ``update`` for each of these steps, where gradients are accumulated. In such a step, the
        parameters become their average after every call.

    Raises
    ------
    HyperparameterError
        If `average` is something else, or a number is outside its range.

    Notes
    -----
    It belongs at the end of a chain. `averaged_params` returns the average.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(1.0), uniopt.overwrite_params(uniopt.params_mean(), every=2))
    >>> params = np.asarray([3.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update(np.ones(1), state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> params
    array([1.5])
    """
    stage = stage_of(average)
    if not isinstance(stage, OfNextParams):
        raise HyperparameterError(f"average is {average!r}, expected uniopt.params_ema or uniopt.params_mean.")
    return transformation(
        OverwriteParams(
            stage,
            hyperparameters.integer("every", every, at_least=1),
            hyperparameters.integer("mini_steps", mini_steps, at_least=1),
        )
    )


@dataclass(frozen=True, eq=False, repr=False)
class OverwriteParams(Stage):
    """The stage behind `overwrite_params`."""

    average: Stage
    every: Integer
    mini_steps: Integer

    def __repr__(self) -> str:
        return f"overwrite_params({self.average!r}, every={self.every}, mini_steps={self.mini_steps})"

    def init(self, step: Step, params: list[Any]) -> Any:
        return self.average.init(step, params)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        params = needed_params("overwrite_params", params)
        updates, after = self.average.update(step, updates, state, params, extra)
        clock = Clock(step, state.count)
        mini_steps = clock.integer("mini_steps", self.mini_steps)
        round_of_calls = clock.integer("every", self.every) * mini_steps
        now = step.backend.astype(state.count % round_of_calls >= round_of_calls - mini_steps, step.xp.bool)
        averages = step.widen(step.slot(after.average, "average"))
        results = [
            u if u is None or place is None else step.xp.where(place.bring(now), average - p, u)
            for u, average, p, place in zip(updates, averages, params, step.places, strict=True)
        ]
        return results, after
