"""Averages of the parameters over the steps, which often generalize better than the last ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.numerics import bias_correction, in_dtype_of
from uniopt.schedules.time import whole
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, needed_params, stage_of, transformation
from uniopt.transforms.copies import copies
from uniopt.typing import Array, Integer, Scalar, Tree


class ParamsAverageState(NamedTuple):
    """The average of the parameters so far."""

    count: Array  # int32, shape ()
    average: Tree  # like the parameters


def params_ema(
    decay: Scalar, debias: bool = True, accumulator_dtype: Any = None, *, start: Integer = 0
) -> GradientTransformation:
    r"""Keep a running mean of the parameters in the state; the updates pass through unchanged.

    .. math::

        a_t = a_{t-1} + w_t (p_t - a_{t-1}), \qquad w_t = \frac{1 - \beta}{1 - \beta^t}
        \quad\text{or, without debias,}\quad w_t = 1 - \beta

    where :math:`p_t` are the parameters after the update.

    Parameters
    ----------
    decay
        :math:`\beta` in [0, 1).
    debias
        Whether the first parameters count no more than the others. Else the mean starts at the parameters that
        ``init`` is given, and leaves them slowly.
    accumulator_dtype
        Dtype of the mean; by default that of the parameters, float32 for 16-bit ones.
    start
        The number of steps before the mean begins: until then it is the parameters themselves. With 1 and without
        `debias`, it is that of keras, which starts at the parameters after the first step.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    It belongs at the end of a chain, where the updates are what will be added. `averaged_params` returns the mean.

    With `debias` the mean is the one that starts at zero and is divided by :math:`1 - \beta^t`. Without, it is that of
    ``torch.optim.swa_utils.AveragedModel`` with ``get_ema_multi_avg_fn``, if that is first given the model before the
    first step. `ema` averages updates instead.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(1.0), uniopt.params_ema(0.5))
    >>> params = np.asarray([3.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update(np.ones(1), state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> params, uniopt.averaged_params(state, params).round(6)
    (array([1.]), array([1.333333]))
    """
    average = leafwise(
        ParamsAverageState,
        _init,
        _params_ema,
        decay=hyperparameters.decay_rate("decay", decay),
        debias=debias,
        accumulator_dtype=hyperparameters.dtype("accumulator_dtype", accumulator_dtype),
        start=hyperparameters.integer("start", start, at_least=0),
    )
    return transformation(OfNextParams(stage_of(average)))


def params_mean(start: Integer = 0, every: Integer = 1, accumulator_dtype: Any = None) -> GradientTransformation:
    r"""Keep the mean of the parameters of many steps in the state; the updates pass through unchanged.

    .. math::

        a_t = \frac{1}{n} \sum_{k=1}^{n} p_{s + k e}, \qquad n = \left\lfloor \frac{t - s}{e} \right\rfloor

    where :math:`p_t` are the parameters after update :math:`t`. As long as there are none to average,
    :math:`a_t = p_t`.

    Parameters
    ----------
    start
        :math:`s`, the number of steps before the average begins.
    every
        :math:`e`, how many steps lie between the parameters that are averaged, such as those of a cycle of the
        learning rate.
    accumulator_dtype
        Dtype of the mean; by default that of the parameters, float32 for 16-bit ones.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    It belongs at the end of a chain, where the updates are what will be added. `averaged_params` returns the mean.

    It is Polyak's average, and that of stochastic weight averaging: the one of
    ``torch.optim.swa_utils.AveragedModel``, if that is given the model every `every` steps after `start`.

    References
    ----------
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and
    Optimization 30, 1992; Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    UAI 2018, arXiv:1803.05407.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.chain(uniopt.sgd(1.0), uniopt.params_mean())
    >>> params = np.asarray([3.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update(np.ones(1), state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> params, uniopt.averaged_params(state, params)
    (array([1.]), array([1.5]))
    """
    average = leafwise(
        ParamsAverageState,
        _init,
        _params_mean,
        start=hyperparameters.integer("start", start, at_least=0),
        every=hyperparameters.integer("every", every, at_least=1),
        accumulator_dtype=hyperparameters.dtype("accumulator_dtype", accumulator_dtype),
    )
    return transformation(OfNextParams(stage_of(average)))


@dataclass(frozen=True, eq=False, repr=False)
class OfNextParams(Stage):
    """A stage that is given the parameters after the update in place of the gradients; only its state is kept."""

    inner: Stage

    def __repr__(self) -> str:
        return repr(self.inner)

    def init(self, step: Step, params: list[Any]) -> Any:
        return self.inner.init(step, copies(step, params))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        if params is None:  # an array among the hyperparameters may have no value to be shown
            params = needed_params(repr(self), params)
        added = step.widen(step.finish(updates))
        following = [  # as apply_updates will round them, for 16-bit leaves
            None if u is None else step.backend.rounded(p + u, step.dtype(i))
            for i, (p, u) in enumerate(zip(params, added, strict=True))
        ]
        _, state = self.inner.update(step, following, state, params, extra)
        return updates, state


def _init(xp: Any, p: Array, *, accumulator_dtype: Any) -> dict[str, Array]:
    return {"average": p if accumulator_dtype is None else xp.astype(p, accumulator_dtype)}


def _params_ema(
    xp: Any, g: Array, s: ParamsAverageState, *, t: Time, decay: Scalar, debias: bool, start: Integer
) -> tuple[Array, ParamsAverageState]:
    weight = t.once(_debiased_weight if debias else _constant_weight, decay, start)
    return g, s._replace(average=_moved(xp, s.average, g, weight))


def _params_mean(
    xp: Any, g: Array, s: ParamsAverageState, *, t: Time, start: Integer, every: Integer
) -> tuple[Array, ParamsAverageState]:
    return g, s._replace(average=_moved(xp, s.average, g, t.once(_weight_in_mean, start, every)))


def _moved(xp: Any, average: Array, p: Array, weight: Array) -> Array:
    """Return ``average + weight * (p - average)``; exactly either of the two where the weight is 0 or 1."""
    between = average + weight * (p - average)
    return xp.where(weight == 0, average, xp.where(weight == 1, p, between))  # even if the other one is not finite


def _debiased_weight(xp: Any, t: Array, decay: Scalar, start: Integer) -> Array:
    n = xp.maximum(t - in_dtype_of(xp, t, start), 1.0)
    return (1 - decay) / (xp.zeros_like(n) + bias_correction(xp, n, decay))


def _constant_weight(xp: Any, t: Array, decay: Scalar, start: Integer) -> Array:
    return xp.where(t <= in_dtype_of(xp, t, start), xp.ones_like(t), xp.zeros_like(t) + (1 - decay))


def _weight_in_mean(xp: Any, t: Array, start: Integer, every: Integer) -> Array:
    """Return the weight of the parameters after step `t`: 1 / n for the n-th of the mean, 0 for those between."""
    start, every = in_dtype_of(xp, t, start), in_dtype_of(xp, t, every)
    n = whole(xp, t - start, every)
    share = 1 / xp.maximum(n, 1.0)
    return xp.where((n < 1) | (n * every == t - start), share, xp.zeros_like(n))
