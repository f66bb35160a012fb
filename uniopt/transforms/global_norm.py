"""Scaling all leaves alike, by a factor that follows from their norm as one vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uniopt import hyperparameters
from uniopt.clock import Clock, Time
from uniopt.norms import meeting, root, sum_of_squares
from uniopt.numerics import nonzero
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, transformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array, Scalar


def clip_by_global_norm(max_norm: Scalar) -> GradientTransformation:
    r"""Scale all leaves down alike if their norm as one vector is above a bound.

    .. math::

        u = g \min\left(1, \frac{c}{\lVert g \rVert}\right)

    Parameters
    ----------
    max_norm
        :math:`c`, not below 0.

    Notes
    -----
    Gradients within the bound stay as they are, to the bit. Zeros stay zeros, with a bound of 0 too, where optax makes
    NaN of them. As in optax, one NaN makes all leaves NaN.

    ``torch.nn.utils.clip_grad_norm_`` and ``mlx.optimizers.clip_grad_norm`` divide by the norm plus 1e-6: they shorten
    a gradient that is as long as the bound, and the ones above it to a little less than the bound.

    References
    ----------
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, arXiv:1211.5063.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.clip_by_global_norm(1.0)
    >>> grads = {"w": np.asarray([3.0]), "b": np.asarray([4.0])}
    >>> tx.update(grads, tx.init(grads))[0]
    {'w': array([0.6]), 'b': array([0.8])}
    """
    return _scaled(_clip_by_global_norm, max_norm=hyperparameters.nonnegative("max_norm", max_norm))


def normalize() -> GradientTransformation:
    r"""Scale all leaves alike, so that their norm as one vector is 1: :math:`u = g / \lVert g \rVert`.

    Notes
    -----
    Zeros stay zeros, where optax makes NaN of them.
    """
    return _scaled(_normalize)


def normalize_by_update_norm(scale_factor: Scalar = 1.0, eps: Scalar = 1e-6) -> GradientTransformation:
    r"""Scale all leaves alike, so that their norm as one vector is a given one.

    .. math::

        u = \frac{s\, g}{\lVert g \rVert + \varepsilon}

    Parameters
    ----------
    scale_factor
        :math:`s`; a negative one turns the direction round.
    eps
        :math:`\varepsilon`, not below 0. With 0, zeros stay zeros.
    """
    return _scaled(
        _normalize_by_update_norm,
        scale_factor=hyperparameters.number("scale_factor", scale_factor),
        eps=hyperparameters.nonnegative("eps", eps),
    )


@dataclass(frozen=True, eq=False, repr=False)
class ScaleByGlobalNorm(Stage):
    """Multiplies all leaves by ``factor(xp, norm, **hyper)``."""

    factor: Callable[..., Array]
    hyper: dict[str, Scalar]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.hyper.items())})"

    @property
    def name(self) -> str:
        return self.factor.__name__.lstrip("_")

    def init(self, step: Step, params: list[Any]) -> Any:
        return EmptyState()

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state(self.name, state, EmptyState)
        if (where := meeting(step.places)) is None:
            return updates, EmptyState()
        time = Time(Clock(step, None), where)
        hyper = {name: time.value(name, x) for name, x in self.hyper.items()}
        factor = self.factor(step.xp, root(step.xp, sum_of_squares(step, updates, where)), **hyper)
        return [
            g if g is None or place is None else g * place.bring(factor)
            for g, place in zip(updates, step.places, strict=True)
        ], EmptyState()


def _scaled(factor: Callable[..., Array], **hyper: Scalar) -> GradientTransformation:
    return transformation(ScaleByGlobalNorm(factor, hyper))


def _clip_by_global_norm(xp: Any, norm: Array, *, max_norm: Scalar) -> Array:
    within = norm <= max_norm  # not where the norm is NaN
    one = xp.ones_like(norm)
    return xp.where(within, one, max_norm / xp.where(within, one, norm))


def _normalize(xp: Any, norm: Array) -> Array:
    return 1 / nonzero(xp, norm)


def _normalize_by_update_norm(xp: Any, norm: Array, *, scale_factor: Scalar, eps: Scalar) -> Array:
    return scale_factor / nonzero(xp, norm + eps, eps)
