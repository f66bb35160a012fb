"""Rounding 16-bit parameters up or down by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, random
from uniopt.backends.dtypes import dtype_name, grid
from uniopt.clock import Clock
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, needed_params, transformation
from uniopt.transforms.narrow import narrow_part
from uniopt.typing import Array


class StochasticRoundingState(NamedTuple):
    """The step count and the seed of the chances."""

    count: Array  # int32, shape ()
    rng_key: Array  # int32, shape (2,)


def stochastic_rounding(key: int = 0) -> GradientTransformation:
    r"""Round 16-bit parameters up or down by chance, so that they are right in the mean.

    With :math:`a \le p_{t-1} + u_t \le b` the neighbours in the parameter's dtype, and :math:`h = b - a`,

    .. math::

        p_t = b \text{ with probability } q = (p_{t-1} + u_t - a) / h, \text{ else } a; \qquad
        \mathrm{E}[p_t] = p_{t-1} + u_t, \qquad \mathrm{Var}[p_t] = h^2 q (1 - q)

    Put it last in a `chain`.

    Parameters
    ----------
    key
        Seed of `uniopt.random`, an integer in [0, 2**64): the chances are the same on every library and device.

    Returns
    -------
    GradientTransformation
        Its state holds `StochasticRoundingState`. Updates of other dtypes pass through; those of 16-bit parameters come
        out as float32, so that `apply_updates` rounds to the very number.

    Raises
    ------
    HyperparameterError
        If the seed is no such integer.

    Notes
    -----
    Costs no memory, but noise: steps :math:`|u| < h` that add up to :math:`D` have the variance :math:`(h - |u|) D`.
    The sum is float32's. Above the largest number of the dtype, rounding is to the nearest.

    References
    ----------
    Gupta et al., "Deep learning with limited numerical precision", ICML 2015, arXiv:1502.02551; Zamirai et al.,
    "Revisiting bfloat16 training", 2020, arXiv:2010.06192.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> params = np.ones(10_000, dtype=np.float16)
    >>> tx = uniopt.chain(uniopt.sgd(1e-4), uniopt.stochastic_rounding())
    >>> updates, _ = tx.update(np.ones_like(params), tx.init(params), params)
    >>> after = uniopt.apply_updates(params, updates)
    >>> np.unique(after)
    array([0.9995, 1.    ], dtype=float16)
    >>> after.mean(dtype=np.float64).round(5)
    np.float64(0.9999)
    """
    return transformation(StochasticRounding(hyperparameters.fixed_integer("key", key, at_least=0, below=2**64)))


@dataclass(frozen=True, eq=False, repr=False)
class StochasticRounding(Stage):
    """The stage behind `stochastic_rounding`."""

    key: int

    def __repr__(self) -> str:
        return f"stochastic_rounding(key={self.key!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        count = step.counter()
        return StochasticRoundingState(count, random.key(self.key, like=count))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("stochastic_rounding", state, StochasticRoundingState)
        params = needed_params("stochastic_rounding", params)
        key = random.fold_in(state.rng_key, state.count)
        results = list(updates)
        for i in narrow_part(step)[1]:
            if updates[i] is not None:
                target = params[i] + updates[i]
                chance = random.uniform(key, like=target, stream=i)
                results[i] = step.reach(i, _rounded(step, target, chance, step.dtype(i)), params[i])
        return results, StochasticRoundingState(Clock(step, state.count).next(), state.rng_key)


def _rounded(step: Step, x: Array, chance: Array, dtype: Any) -> Array:
    """Return `x` rounded to the dtype: up or down, in proportion to how near both are."""
    xp, rounded = step.xp, step.backend.rounded
    bits, smallest = grid(dtype_name(dtype))
    nearest = rounded(x, dtype)
    missed = x - nearest
    # More than half of the way to the next number on either side, and less than one and a half of it.
    beyond = xp.maximum(xp.abs(nearest) * (1.25 * 2.0**-bits), 0.625 * smallest)
    other = rounded(nearest + xp.where(missed < 0, -beyond, beyond), dtype)
    return xp.where(chance * xp.abs(other - nearest) < xp.abs(missed), other, nearest)
