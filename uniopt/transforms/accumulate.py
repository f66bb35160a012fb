"""Gradients of several mini-steps for each update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, tree
from uniopt.backends import registry
from uniopt.clock import Clock, Time
from uniopt.conditional import cond, condition, zeros
from uniopt.errors import HyperparameterError
from uniopt.hyperparameters import DtypeName
from uniopt.leafwise import leafwise
from uniopt.numerics import zeros_like
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, stage_of, transformation
from uniopt.transforms.skip import ShouldSkipUpdateFunction
from uniopt.typing import Array, Integer, Schedule, Tree


class MultiStepsState(NamedTuple):
    """What has been accumulated, and the state of the transformation that will be given it."""

    mini_step: Array  # int32, shape (): mini-steps since the last update
    gradient_step: Array  # int32, shape (): updates so far
    inner_opt_state: Any
    acc_grads: Tree  # like the parameters
    skip_state: Tree = ()


class MultiSteps(GradientTransformation):
    r"""Accumulate the gradients of `k` mini-steps, and update once with their mean.

    In mini-step :math:`n` of `k`, counted from 0, the accumulated gradient is

    .. math::

        a_n = a_{n-1} + \frac{g_n - a_{n-1}}{n + 1} \qquad\text{or, as a sum,}\qquad a_n = a_{n-1} + g_n .

    The last mini-step returns the update that `opt` makes of :math:`a_{k-1}`, and the others return zeros.

    Parameters
    ----------
    opt
        The transformation to accumulate for; it sees each mean as one gradient.
    every_k_schedule
        :math:`k`, an integer of at least 1, or a function from the number of updates so far (a 0-d int32 array) to it,
        which is rounded.
    use_grad_mean
        Whether to give `opt` the mean; otherwise the sum.
    should_skip_update_fn
        Says which mini-steps to leave out, such as `skip_not_finite`: they change neither what is accumulated nor the
        count. What it notes is kept in ``state.skip_state``.
    accumulator_dtype
        Dtype of what is accumulated; by default that of the parameters, float32 for 16-bit ones.

    Raises
    ------
    HyperparameterError
        If `every_k_schedule` is neither; at init or update, if `should_skip_update_fn` does not return a condition and
        a tree.

    Notes
    -----
    It is a gradient transformation itself, to be chained or compiled like any other. Nothing of `opt` is computed
    before the last mini-step, except in compiled steps on NumPy, CuPy and torch and on Dask, where it is computed and
    not used. In optax it is computed in each mini-step and multiplied by 0, so that a NaN of one mini-step stays for
    ever. optax accumulates in float32 by default, float64 gradients too.

    A leaf whose gradient is ``None`` is left out of a mini-step with all that belongs to it, as everywhere. In the last
    one that means that it is not updated, and keeps what has been accumulated for it: a sum goes on in the next
    mini-steps, a mean begins again with the first of them that has a gradient for it as its first.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.MultiSteps(uniopt.sgd(0.5), every_k_schedule=2)
    >>> params = np.asarray([1.0, 2.0])
    >>> state = tx.init(params)
    >>> for grads in (np.asarray([1.0, 0.0]), np.asarray([3.0, 2.0])):
    ...     updates, state = tx.update(grads, state, params)
    ...     print(updates, bool(tx.has_updated(state)))
    [0. 0.] False
    [-1.  -0.5] True
    """

    __slots__ = ()

    def __new__(
        cls,
        opt: GradientTransformation,
        every_k_schedule: Integer | Schedule,
        use_grad_mean: bool = True,
        should_skip_update_fn: ShouldSkipUpdateFunction | None = None,
        accumulator_dtype: Any = None,
    ) -> MultiSteps:
        if not callable(every_k_schedule):
            every_k_schedule = hyperparameters.integer("every_k_schedule", every_k_schedule, at_least=1)
        dtype = hyperparameters.dtype("accumulator_dtype", accumulator_dtype)
        mean = leafwise(
            _Accumulated, _init, _mean if use_grad_mean else _sum, counter="mini_step", accumulator_dtype=dtype
        )
        stage = Accumulate(stage_of(opt), stage_of(mean), every_k_schedule, use_grad_mean, should_skip_update_fn, dtype)
        return super().__new__(cls, *transformation(stage))

    def __getnewargs__(self) -> Any:
        stage: Any = stage_of(self)
        return self.inner_opt, *(getattr(stage, name) for name in _OPTIONS)

    @property
    def inner_opt(self) -> GradientTransformation:
        """The transformation that is accumulated for."""
        stage: Any = stage_of(self)
        return transformation(stage.opt)

    def has_updated(self, state: MultiStepsState) -> Array:
        """Return whether the last mini-step was one that updates, a 0-d boolean array."""
        backend = registry.backend_of(state.mini_step)
        return backend.astype((state.mini_step == 0) & (state.gradient_step > 0), backend.xp.bool)

    def gradient_transformation(self) -> GradientTransformation:
        """Return the pair ``(init, update)``."""
        return GradientTransformation(*self)


_OPTIONS = {"every_k_schedule": None, "use_grad_mean": True, "should_skip_update_fn": None, "accumulator_dtype": None}
"""The parameters of `MultiSteps` after the first, and their defaults."""


class _Accumulated(NamedTuple):
    """The part of the state that every mini-step changes."""

    mini_step: Array
    acc_grads: Tree


@dataclass(frozen=True, eq=False, repr=False)
class Accumulate(Stage):
    """The stage behind `MultiSteps`."""

    opt: Stage
    rule: Stage
    every_k_schedule: Integer | Schedule
    use_grad_mean: bool
    should_skip_update_fn: ShouldSkipUpdateFunction | None
    accumulator_dtype: DtypeName | None

    def __repr__(self) -> str:
        options = {name: getattr(self, name) for name in _OPTIONS}
        given = [f"{name}={getattr(x, '__name__', repr(x))}" for name, x in options.items() if x is not _OPTIONS[name]]
        return f"MultiSteps({', '.join([repr(self.opt), *given])})"

    def init(self, step: Step, params: list[Any]) -> Any:
        mini_step, acc_grads = self.rule.init(step, params)
        gradient_step = step.counter()
        _, skip_state = self._skips(step, zeros(step, params), gradient_step, params)
        return MultiStepsState(mini_step, gradient_step, self.opt.init(step, params), acc_grads, skip_state)

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("MultiSteps", state, MultiStepsState)
        skip, skip_state = self._skips(step, updates, state.gradient_step, params)

        def skipped(step: Step) -> tuple[list[Any], Any]:
            return zeros(step, updates), state

        def accumulated(step: Step) -> tuple[list[Any], Any]:
            return self._accumulated(step, updates, state, params, extra)

        results, after = cond(step, skip, skipped, accumulated)
        return results, after._replace(skip_state=skip_state)

    def _accumulated(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        held = _Accumulated(state.mini_step, state.acc_grads)
        grads, (mini_step, acc_grads) = self.rule.update(step, updates, held, params, {})
        clock = Clock(step, state.gradient_step)

        def last(step: Step) -> tuple[list[Any], Any]:
            results, inner = self.opt.update(step, grads, state.inner_opt_state, params, extra)
            held = step.slot(acc_grads, "state.acc_grads")
            emptied = [acc if g is None else step.xp.zeros_like(acc) for g, acc in zip(grads, held, strict=True)]
            counts = {"mini_step": clock.xp.zeros_like(mini_step), "gradient_step": clock.next()}
            after = state._replace(inner_opt_state=inner, acc_grads=step.rebuild(emptied), **counts)
            return step.widen(results), after

        def before(step: Step) -> tuple[list[Any], Any]:
            return zeros(step, updates), state._replace(mini_step=mini_step, acc_grads=acc_grads)

        found: tuple[list[Any], Any] = cond(step, state.mini_step >= self._every(clock) - 1, last, before)
        return found

    def _every(self, clock: Clock) -> Any:
        """Return the number of mini-steps for this update, an int or a 0-d int32 array."""
        if not callable(self.every_k_schedule):
            return clock.integer("every_k_schedule", self.every_k_schedule)
        k = clock.scheduled("every_k_schedule", self.every_k_schedule)
        if registry.find(type(k)) is not clock.backend:  # a number, maybe one of NumPy's
            return round(float(k))
        return clock.backend.astype(clock.xp.round(k), clock.xp.int32)

    def _skips(
        self, step: Step, updates: list[Any], gradient_step: Array, params: list[Any] | None
    ) -> tuple[Array | bool, Tree]:
        if self.should_skip_update_fn is None:
            return False, ()
        values = None if params is None else step.rebuild(params)
        found = self.should_skip_update_fn(step.rebuild(updates), gradient_step, values)
        if not isinstance(found, tuple) or len(found) != 2:
            raise HyperparameterError(f"should_skip_update_fn returned {found!r}, expected a condition and a tree.")
        skip_state = tree.map(lambda x: step.backend.astype(x, x.dtype) if hasattr(x, "dtype") else x, found[1])
        return condition("should_skip_update_fn", found[0]), skip_state


def _init(xp: Any, p: Array, *, accumulator_dtype: Any) -> dict[str, Array]:
    return {"acc_grads": zeros_like(xp, p, accumulator_dtype)}


def _mean(xp: Any, g: Array, s: _Accumulated, *, t: Time) -> tuple[Array, _Accumulated]:
    held = xp.where(t.is_first(), xp.zeros_like(s.acc_grads), s.acc_grads)  # it may be NaN
    acc = held + (g - held) / t.once(_number)
    return acc, s._replace(acc_grads=acc)


def _sum(xp: Any, g: Array, s: _Accumulated) -> tuple[Array, _Accumulated]:
    acc = s.acc_grads + g
    return acc, s._replace(acc_grads=acc)


def _number(xp: Any, t: Array) -> Array:
    return t
