"""Mechanic: the scale of another optimizer's updates, learnt while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.clock import Clock
from uniopt.conditional import cond
from uniopt.constants import constant
from uniopt.norms import inner_product, sum_of_squares
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
from uniopt.transforms.copies import copies, copies_as
from uniopt.typing import Array, Scalar, Tree


class MechanicState(NamedTuple):
    """The state of the base optimizer, the sums of each tuner, and the parameters of the first step."""

    base_optimizer_state: Any
    count: Array  # int32, shape ()
    r: Array  # shape (num_betas,), as m, v and s
    m: Array
    v: Array
    s: Array
    x0: Tree  # like the parameters


def mechanize(
    base_optimizer: GradientTransformation,
    weight_decay: Scalar = 1e-2,
    eps: Scalar = 1e-8,
    s_init: Scalar = 1e-6,
    num_betas: int = 6,
) -> GradientTransformation:
    r"""Learn the learning rate of another optimizer, as a factor of everything that it has done so far.

    With the updates :math:`u` of the base optimizer, the first parameters :math:`\theta_0` and
    :math:`\beta_i = 1 - 10^{-i}` for each of :math:`n` tuners,

    .. math::

        \Delta &= (\theta_0 - \theta) / (\textstyle\sum_i s_i + \varepsilon), \qquad
        h = \left\langle g + \lambda \textstyle\sum_i s_i
            \frac{\lVert g \rVert}{\lVert \theta \rVert + \varepsilon}\, \theta,\; \Delta \right\rangle \\
        r_i &\leftarrow \beta_i r_i + s_i \operatorname{clip}(h, -m_i, m_i), \qquad
        m_i \leftarrow \max(\beta_i m_i, |h| + \varepsilon), \qquad
        v_i \leftarrow \beta_i^2 v_i + h^2 \\
        s_i &\leftarrow \frac{(s_0 / n)\, m_i + \max(r_i, 0)}{\sqrt{v_i} + \varepsilon}, \qquad
        \theta \leftarrow \theta_0 - \textstyle\sum_i s_i\, (\Delta - u)

    Parameters
    ----------
    base_optimizer
        The optimizer, with a learning rate of 1 or a schedule that begins or peaks there. Not one that normalizes its
        updates by the parameters, such as `lamb`.
    weight_decay
        :math:`\lambda`.
    eps
        :math:`\varepsilon`, above 0.
    s_init
        :math:`s_0`, the scale at first.
    num_betas
        :math:`n`.

    Returns
    -------
    GradientTransformation
        Its state is `MechanicState`. Its ``update`` needs the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    :math:`\theta_0` are the parameters of the first update, which need not be those of ``init``. :math:`r`, :math:`m`,
    :math:`v` and :math:`s` are of the first leaf's precision, at least float32; in optax, of the parameters' lowest
    one.

    References
    ----------
    Cutkosky, Defazio and Mehta, "Mechanic: a learning rate tuner", NeurIPS 2023, arXiv:2306.00144.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.mechanize(uniopt.sgd(1.0), s_init=0.5)
    >>> params = np.asarray([4.0])
    >>> state = tx.init(params)
    >>> for _ in range(10):
    ...     updates, state = tx.update(params, state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> bool(abs(params[0]) < 4.0)
    True
    """
    return transformation(
        Mechanize(
            stage_of(base_optimizer),
            hyperparameters.number("weight_decay", weight_decay),
            hyperparameters.positive("eps", eps),
            hyperparameters.nonnegative("s_init", s_init),
            hyperparameters.fixed_integer("num_betas", num_betas, at_least=1),
        )
    )


@dataclass(frozen=True, eq=False, repr=False)
class Mechanize(Stage):
    """The stage behind `mechanize`."""

    base: Stage
    weight_decay: Scalar
    eps: Scalar
    s_init: Scalar
    num_betas: int

    def __repr__(self) -> str:
        return (
            f"mechanize({self.base!r}, weight_decay={self.weight_decay!r}, eps={self.eps!r}, "
            f"s_init={self.s_init!r}, num_betas={self.num_betas!r})"
        )

    def init(self, step: Step, params: list[Any]) -> Any:
        zeros, ones = [0.0] * self.num_betas, constant(step, [1.0] * self.num_betas)
        return MechanicState(
            base_optimizer_state=self.base.init(step, params),
            count=step.counter(),
            r=constant(step, zeros),
            m=constant(step, zeros),
            v=constant(step, zeros),
            s=ones * Place(step.backend, ones, ones.dtype).bring(self.s_init),
            x0=step.rebuild(copies(step, step.leaves)),
        )

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("mechanize", state, MechanicState)
        params = needed_params("mechanize", params)
        xp, count = step.xp, Clock(step, state.count).next()
        moves, base_state = self.base.update(step, updates, state.base_optimizer_state, params, extra)
        if all(place is None for place in step.places):
            return moves, state._replace(base_optimizer_state=base_state, count=count)
        held = step.slot(state.x0, "state.x0")
        x0 = cond(step, state.count == 0, lambda step: copies_as(step, params, held), lambda step: held)
        start = step.widen(x0)

        where, scale = Place(step.backend, state.s, state.s.dtype), xp.sum(state.s)
        weight_decay, eps, s_init = map(where.bring, (self.weight_decay, self.eps, self.s_init))
        deltas = _each(step, lambda place, x, p: (x - p) / place.bring(scale + eps), start, params)
        norms = [xp.sqrt(sum_of_squares(step, leaves, where)) for leaves in (updates, params)]
        decay = weight_decay * scale * norms[0] / (norms[1] + eps)
        h = inner_product(step, updates, deltas, where) + decay * inner_product(step, params, deltas, where)

        betas = [1.0 - 0.1**i for i in range(1, self.num_betas + 1)]
        betas = step.backend.asarray(betas, dtype=state.s.dtype, like=state.s)
        m = xp.maximum(betas * state.m, xp.abs(h) + eps)
        v = betas * betas * state.v + h * h
        r = betas * state.r + xp.maximum(xp.minimum(h, state.m), -state.m) * state.s
        s = (s_init / self.num_betas * m + xp.maximum(r, 0.0)) / (xp.sqrt(v) + eps)
        after = xp.sum(s)
        results = _each(
            step, lambda place, x, p, d, u: x - p - place.bring(after) * (d - u), start, params, deltas, moves
        )
        return results, MechanicState(
            base_optimizer_state=base_state,
            count=count,
            r=r,
            m=m,
            v=v,
            s=s,
            x0=step.rebuild(x0),
        )


def _each(step: Step, f: Any, *columns: list[Any]) -> list[Any]:
    """Return what `f` makes of each place and its leaves; None where there is no gradient."""
    return [None if place is None else f(place, *leaves) for place, *leaves in zip(step.places, *columns, strict=True)]
