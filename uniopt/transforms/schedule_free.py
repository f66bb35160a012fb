"""Schedule-free learning: averages of the iterates in place of a falling learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, leaf_by_leaf
from uniopt.clock import Clock, Time
from uniopt.constants import constant
from uniopt.errors import HyperparameterError
from uniopt.leafwise import Leafwise
from uniopt.place import Place
from uniopt.step import Step
from uniopt.transformation import (
    GradientTransformation,
    Stage,
    check_state,
    needed_params,
    stage_of,
    transformation,
)
from uniopt.transforms.copies import copies
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScheduleFreeState(NamedTuple):
    """The iterates of the base optimizer, its state, and the weight of the average so far."""

    b1: Array  # shape ()
    weight_sum: Array  # shape ()
    step_count: Array  # int32, shape (): it counts from 1
    max_lr: Array  # shape ()
    base_optimizer_state: Any
    z: Tree  # like the parameters


def schedule_free(
    base_optimizer: GradientTransformation,
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
) -> GradientTransformation:
    r"""Let an optimizer without momentum run free, average its iterates, and take gradients in between.

    With the updates :math:`u` of the base optimizer,

    .. math::

        z_{t+1} &= z_t + u(\nabla f(y_t)) \\
        x_{t+1} &= (1 - c_t) x_t + c_t z_{t+1}, \qquad
        c_t = w_t / \textstyle\sum_{i \le t} w_i, \qquad w_t = \max_{i \le t} \eta_i^{\,r} \\
        y_{t+1} &= \beta_1 x_{t+1} + (1 - \beta_1) z_{t+1}

    The parameters are :math:`y`. Evaluate at :math:`x`, which is what `schedule_free_eval_params` returns.

    Parameters
    ----------
    base_optimizer
        The optimizer, without momentum and with the same learning rate.
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule, which should warm up and not fall. It counts from 1 here.
    b1
        :math:`\beta_1`, in (0, 1].
    weight_lr_power
        :math:`r`.
    state_dtype
        Dtype of :math:`z`; by default that of the parameters, float32 for 16-bit ones.

    Returns
    -------
    GradientTransformation
        Its state is `ScheduleFreeState`. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    :math:`x` is not kept: it follows from :math:`y` and :math:`z`. The numbers in the state are of the first leaf's
    precision, at least float32; in optax they, and :math:`z`, are of the parameters' lowest one.

    References
    ----------
    Defazio et al., "The road less scheduled", NeurIPS 2024, arXiv:2405.15682.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.schedule_free(uniopt.sgd(0.25), 0.25)
    >>> params = np.asarray([4.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     updates, state = tx.update(params, state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> params, uniopt.schedule_free_eval_params(state, params)
    (array([2.5875]), array([2.625]))
    """
    iterates = Leafwise(
        _Iterates,
        _init,
        _interpolate,
        "count",
        {
            "b1": _interpolation("b1", b1),
            "state_dtype": hyperparameters.dtype("state_dtype", state_dtype),
        },
    )
    power = hyperparameters.number("weight_lr_power", weight_lr_power)
    rate = hyperparameters.learning_rate(learning_rate)
    return transformation(ScheduleFree(stage_of(base_optimizer), rate, power, iterates))


def schedule_free_eval_params(state: ScheduleFreeState, params: Tree) -> Tree:
    r"""Return the parameters at which to evaluate, :math:`x = (y - (1 - \beta_1) z) / \beta_1`.

    Parameters
    ----------
    state
        The state of `schedule_free`.
    params
        The parameters, :math:`y`.

    Raises
    ------
    StateError
        If the state is another transformation's, or belongs to other parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.schedule_free_sgd(0.5)
    >>> params = np.asarray([4.0])
    >>> uniopt.schedule_free_eval_params(tx.init(params), params)
    array([4.])
    """
    check_state("schedule_free_eval_params", state, ScheduleFreeState)
    step, leaves = Step.of_params(params)
    averages, _ = leaf_by_leaf.run([_AVERAGES], step, leaves, [_Iterates(state.z)], leaves, {"b1": state.b1})
    return step.rebuild(step.narrow(averages))


@dataclass(frozen=True, eq=False, repr=False)
class ScheduleFree(Stage):
    """The stage behind `schedule_free`."""

    base: Stage
    learning_rate: ScalarOrSchedule
    weight_lr_power: Scalar
    iterates: Leafwise

    def __repr__(self) -> str:
        b1, state_dtype = self.iterates.hyper["b1"], self.iterates.hyper["state_dtype"]
        return (
            f"schedule_free({self.base!r}, learning_rate={self.learning_rate!r}, b1={b1!r}, "
            f"weight_lr_power={self.weight_lr_power!r}, state_dtype={state_dtype!r})"
        )

    def per_example(self) -> bool:
        return self.base.per_example()

    def init(self, step: Step, params: list[Any]) -> Any:
        zero = constant(step, 0.0)
        return ScheduleFreeState(
            b1=step.backend.astype(zero + self.iterates.hyper["b1"], zero.dtype),
            weight_sum=zero,
            step_count=step.backend.astype(step.counter() + 1, step.xp.int32),
            max_lr=constant(step, 0.0),
            base_optimizer_state=self.base.init(step, params),
            z=self.iterates.init(step, copies(step, params)).z,
        )

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("schedule_free", state, ScheduleFreeState)
        params = needed_params("schedule_free", params)
        xp, clock = step.xp, Clock(step, state.step_count)
        time = Time(clock, Place(clock.backend, state.max_lr, state.max_lr.dtype))
        max_lr = xp.maximum(state.max_lr, time.value("learning_rate", self.learning_rate))
        weight = max_lr ** time.value("weight_lr_power", self.weight_lr_power)
        total = state.weight_sum + weight
        share = weight / xp.where(total == 0, xp.ones_like(total), total)  # 0 as long as the rate is

        moves, base_state = self.base.update(step, updates, state.base_optimizer_state, params, extra)
        results, (after,) = leaf_by_leaf.run(
            [self.iterates], step, moves, [_Iterates(state.z)], params, {"share": share}
        )
        astype = clock.backend.astype
        return results, ScheduleFreeState(
            b1=state.b1,
            weight_sum=astype(total, state.weight_sum.dtype),
            step_count=clock.next(),
            max_lr=astype(max_lr, state.max_lr.dtype),
            base_optimizer_state=base_state,
            z=after.z,
        )


class _Iterates(NamedTuple):
    z: Tree


def _init(xp: Any, p: Array, *, state_dtype: Any) -> dict[str, Array]:
    return {"z": p if state_dtype is None else xp.astype(p, state_dtype)}


def _interpolate(
    xp: Any, u: Array, s: _Iterates, *, p: Array, share: Scalar, b1: Scalar, state_dtype: Any
) -> tuple[Array, _Iterates]:
    z = s.z + u
    if state_dtype is None:
        move, lead = z - s.z, s.z - p
    else:
        z = xp.astype(xp.astype(z, state_dtype), s.z.dtype)  # as it will be stored
        move, lead = xp.astype(z - s.z, p.dtype), xp.astype(s.z, p.dtype) - p
    # The difference of both y, with x = (y - (1 - b1) z) / b1 put in.
    return (1 - b1) * move + share * (b1 * move + lead), s._replace(z=z)


def _average(xp: Any, p: Array, s: _Iterates, *, b1: Scalar) -> tuple[Array, _Iterates]:
    return s.z + (p - s.z) / b1, s


_AVERAGES = Leafwise(_Iterates, None, _average, "count", {})


def _interpolation(name: str, value: Scalar) -> Scalar:
    """Return a number in (0, 1], or a 0-d array."""
    result = hyperparameters.positive(name, value)
    if isinstance(result, float) and result > 1.0:
        raise HyperparameterError(f"{name} is {value!r}, expected a number in (0, 1] or a 0-d array.")
    return result
