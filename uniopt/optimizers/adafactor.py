r"""Adafactor: second moments of matrices kept as one row and one column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average
from uniopt.numerics import abs_squared, in_dtype_of, nonzero, real_full_like, spacing_of_1
from uniopt.transformation import GradientTransformation
from uniopt.transforms.clip import clip_by_block_rms
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.ema import ema
from uniopt.transforms.scale import ScaleByScheduleState, scale, scale_by_learning_rate
from uniopt.transforms.trust_ratio import scale_by_param_block_rms
from uniopt.typing import Array, Integer, Mask, Scalar, ScalarOrSchedule, Tree


class FactoredState(NamedTuple):
    """The second moments: `v_row` and `v_col` of factored leaves, `v` of the others; of shape (1,) where unused."""

    count: Array  # int32, shape ()
    v_row: Tree  # the mean over the largest axis
    v_col: Tree  # the mean over the second largest axis
    v: Tree  # like the parameters, real


def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: Scalar = 0.8,
    step_offset: Integer = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: Scalar | None = 1e-30,
    decay_rate_fn: Callable[[Array, Scalar], Scalar] | None = None,
    *,
    last_axes: bool = False,
    clamp_estimate: bool = False,
) -> GradientTransformation:
    r"""Divide by the root of a factored second moment; see `adafactor` for formula and parameters.

    `decay_rate_fn`, if given, is called with the number of steps taken before, less `step_offset`, and with
    `decay_rate`, and returns :math:`\beta_t`: to keep it away from 1, for example, where the moments would stand still.

    With `last_axes`, the last two axes are factored, as in torch, mlx and keras, and not the largest. With
    `clamp_estimate`, as in torch, :math:`\varepsilon` is not added to the squared gradients: the mean of :math:`R_t` is
    no less than :math:`\varepsilon`, :math:`v_t` no less than :math:`\varepsilon^2`, and None is the distance from 1 to
    the next larger number.
    """
    return leafwise(
        FactoredState,
        _init,
        _scale_by_factored_rms,
        factored=hyperparameters.switch("factored", factored),
        decay_rate=hyperparameters.nonnegative("decay_rate", decay_rate),
        step_offset=hyperparameters.number("step_offset", step_offset),
        min_dim_size_to_factor=hyperparameters.fixed_integer(
            "min_dim_size_to_factor", min_dim_size_to_factor, at_least=0
        ),
        epsilon=None if epsilon is None and clamp_estimate else hyperparameters.nonnegative("epsilon", epsilon),
        decay_rate_fn=None if decay_rate_fn is None else _DecayRate(decay_rate_fn, decay_rate, step_offset),
        last_axes=hyperparameters.switch("last_axes", last_axes),
        clamp_estimate=hyperparameters.switch("clamp_estimate", clamp_estimate),
    )


@dataclass(frozen=True)
class _DecayRate:
    """The schedule of decay rates that a function of step and rate stands for."""

    function: Callable[[Array, Scalar], Scalar]
    rate: Scalar
    offset: Integer

    def __call__(self, count: Array) -> Scalar:
        return self.function(count - self.offset, self.rate)


def scale_by_relative_step(learning_rate: ScalarOrSchedule) -> GradientTransformation:
    r"""Multiply by the negative learning rate, which is at most :math:`1 / \sqrt t`, as Adafactor's paper proposes.

    Parameters
    ----------
    learning_rate
        The largest rate: a number, a 0-d array, or a schedule of the step count.
    """
    rate = hyperparameters.learning_rate(learning_rate)
    return leafwise(ScaleByScheduleState, None, _scale_by_relative_step, learning_rate=rate)


def adafactor(
    learning_rate: ScalarOrSchedule | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Scalar = 0.8,
    decay_offset: Integer = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Scalar | None = 1.0,
    momentum: Scalar | None = None,
    dtype_momentum: Any = "float32",
    weight_decay_rate: ScalarOrSchedule | None = None,
    eps: Scalar = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformation:
    r"""Adaptive steps with the memory of one row and one column for each matrix.

    With :math:`\beta_t = 1 - \max(1, t - t_0)^{-c}`, a matrix's second moment is

    .. math::

        R_t &= \beta_t R_{t-1} + (1 - \beta_t)\, \mathrm{mean}_{\mathrm{columns}}(|g_t|^2 + \varepsilon) \\
        C_t &= \beta_t C_{t-1} + (1 - \beta_t)\, \mathrm{mean}_{\mathrm{rows}}(|g_t|^2 + \varepsilon) \\
        v_t &= R_t C_t / \mathrm{mean}(R_t), \qquad d_t = g_t / \sqrt{v_t}

    and :math:`d_t` is divided by :math:`\max(1, \mathrm{rms}(d_t) / \theta)`, multiplied by the learning rate and by
    :math:`\max(\mathrm{rms}(p), 10^{-3})`, averaged if there is momentum, joined by :math:`\lambda p`, and negated.

    Parameters
    ----------
    learning_rate
        A number, a 0-d array, or a schedule of the step count; None for 1.
    min_dim_size_to_factor
        A leaf is factored, over its two largest axes, if the second largest has at least this length.
    decay_rate
        :math:`c`, the exponent with which the decay rate rises.
    decay_offset
        :math:`t_0`, the step after which the decay rate rises (again), for fine-tuning from a state that has counted
        so far.
    multiply_by_parameter_scale
        Whether steps are relative to the size of the parameters.
    clipping_threshold
        :math:`\theta`, above 0; None for no clipping.
    momentum
        Decay rate of the running mean of the steps, in [0, 1); None for none.
    dtype_momentum
        Dtype of that mean.
    weight_decay_rate
        :math:`\lambda`, not multiplied by the learning rate: a number, a 0-d array, or a schedule; None for none.
    eps
        :math:`\varepsilon`, added to the squared gradients.
    factored
        Whether leaves are factored at all.
    weight_decay_mask
        Which parameters decay: a tree of bools, a prefix of one, or a function from the parameters to one.

    Returns
    -------
    GradientTransformation
        Its state holds `FactoredState`: ``count`` (int32), ``v_row``, ``v_col`` and ``v`` in the parameters' dtype,
        float32 for 16-bit ones; all three are real. With momentum it also holds `EmaState`: ``count`` (int32) and
        ``ema`` in `dtype_momentum`. Its ``update`` needs the parameters, unless they neither decay nor scale.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same, but computes :math:`\beta_t` in float32 even for float64, and it is NaN there up to step
    :math:`t_0`. torch, mlx and keras factor the last two axes of every leaf of rank 2 or more, and bound the learning
    rate by :math:`t^{-1/2}` (mlx unless told otherwise). torch and keras multiply the weight decay by the learning
    rate, mlx also by the size of the parameters.

    References
    ----------
    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", ICML 2018, arXiv:1804.04235.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.adafactor(0.1, min_dim_size_to_factor=2)
    >>> params = np.asarray([[1.0, 2.0], [2.0, 4.0]])
    >>> tx.update(params, tx.init(params), params)[0].round(6)
    array([[-0.25, -0.25],
           [-0.25, -0.25]])
    """
    offset = hyperparameters.number("decay_offset", decay_offset)
    added = hyperparameters.nonnegative("eps", eps)
    stages = [scale_by_factored_rms(factored, decay_rate, offset, min_dim_size_to_factor, added)]
    if clipping_threshold is not None:
        stages.append(clip_by_block_rms(hyperparameters.positive("clipping_threshold", clipping_threshold)))
    if learning_rate is not None:
        stages.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if hyperparameters.switch("multiply_by_parameter_scale", multiply_by_parameter_scale):
        stages.append(scale_by_param_block_rms())
    dtype = hyperparameters.dtype("dtype_momentum", dtype_momentum)
    if momentum is not None:
        decay = hyperparameters.decay_rate("momentum", momentum)
        stages.append(ema(decay, debias=False, accumulator_dtype=dtype))
    mask = hyperparameters.mask("weight_decay_mask", weight_decay_mask)
    if weight_decay_rate is not None:
        rate = hyperparameters.learning_rate(weight_decay_rate, "weight_decay_rate")
        stages.append(add_decayed_weights(rate, mask))
    return chain(*stages, scale(-1.0))


def factored_axes(shape: tuple[int, ...], factored: bool, min_dim_size: int, last_axes: bool) -> tuple[int, int] | None:
    """Return the second largest and the largest axis, or else the last two; None if the leaf is not factored."""
    if not factored or len(shape) < 2:
        return None
    axes = range(len(shape))
    *_, second, largest = axes if last_axes else sorted(axes, key=lambda axis: shape[axis])
    return (second, largest) if shape[second] >= min_dim_size else None


def _init(xp: Any, p: Array, *, factored: bool, min_dim_size_to_factor: int, last_axes: bool) -> dict[str, Array]:
    zeros = real_full_like(xp, p)
    nothing = xp.reshape(xp.zeros_like(xp.sum(zeros)), (1,))
    axes = factored_axes(p.shape, factored, min_dim_size_to_factor, last_axes)
    if axes is None:
        return {"v_row": nothing, "v_col": xp.zeros_like(nothing), "v": zeros}
    second, largest = axes
    return {"v_row": xp.sum(zeros, axis=largest), "v_col": xp.sum(zeros, axis=second), "v": nothing}


def _scale_by_factored_rms(
    xp: Any,
    g: Array,
    s: FactoredState,
    *,
    t: Time,
    factored: bool,
    decay_rate: Scalar,
    step_offset: Scalar,
    min_dim_size_to_factor: int,
    epsilon: Scalar | None,
    decay_rate_fn: Scalar | None,
    last_axes: bool,
    clamp_estimate: bool,
) -> tuple[Array, FactoredState]:
    decay = t.once(_decay, decay_rate, step_offset) if decay_rate_fn is None else decay_rate_fn
    epsilon = spacing_of_1(g) if epsilon is None else epsilon
    squared = abs_squared(xp, g) if clamp_estimate else abs_squared(xp, g) + epsilon
    axes = factored_axes(g.shape, factored, min_dim_size_to_factor, last_axes)
    if axes is None:
        v = average(decay, s.v, squared)
        if clamp_estimate:
            return g / _root_of_clamped(xp, v, epsilon), s._replace(v=v)
        return g / nonzero(xp, xp.sqrt(v), epsilon), s._replace(v=v)
    second, largest = axes
    row = average(decay, s.v_row, xp.mean(squared, axis=largest))
    column = average(decay, s.v_col, xp.mean(squared, axis=second))
    mean = xp.mean(row, axis=second - 1 if second > largest else second, keepdims=True)
    after = s._replace(v_row=row, v_col=column)
    if clamp_estimate:
        share = row / nonzero(xp, xp.maximum(mean, epsilon))
        estimate = xp.expand_dims(share, axis=largest) * xp.expand_dims(column, axis=second)
        return g / _root_of_clamped(xp, estimate, epsilon), after
    row_factor = xp.expand_dims(xp.sqrt(row / nonzero(xp, mean, epsilon)), axis=largest)
    column_factor = xp.expand_dims(xp.sqrt(column), axis=second)
    return g / nonzero(xp, row_factor, epsilon) / nonzero(xp, column_factor, epsilon), after


def _root_of_clamped(xp: Any, estimate: Array, epsilon: Scalar) -> Array:
    return nonzero(xp, xp.sqrt(xp.maximum(estimate, epsilon * epsilon)))  # the square may be 0 in float32


def _decay(xp: Any, t: Array, rate: Scalar, offset: Scalar) -> Array:
    # 1 - n**-c without the loss of digits; 0 at the first step.
    return -xp.expm1(-rate * xp.log(xp.maximum(t - in_dtype_of(xp, t, offset), 1.0)))


def _scale_by_relative_step(xp: Any, g: Array, s: Any, *, t: Time, learning_rate: Scalar) -> tuple[Array, Any]:
    return -t.once(_relative_step, learning_rate) * g, s


def _relative_step(xp: Any, t: Array, learning_rate: Scalar) -> Array:
    return xp.minimum(1.0 / xp.sqrt(t), learning_rate)
