r"""Polyak's step size: as far as the value of the objective says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Clock, Time
from uniopt.errors import MissingArgumentError
from uniopt.norms import meeting, sum_of_squares
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, transformation
from uniopt.transforms.scale import EmptyState, scale_by_learning_rate
from uniopt.typing import Scalar, ScalarOrSchedule

# Below it, the squared norm of the gradients counts as 0: the rounding unit of float64, as in optax.
_NEGLIGIBLE = 2.0**-52


def scale_by_polyak(
    f_min: Scalar = 0.0, max_learning_rate: Scalar = 1.0, eps: Scalar = 0.0, variant: str = "sps"
) -> GradientTransformation:
    """Scale the gradients by Polyak's step size, not negated; see `polyak_sgd` for formula and parameters."""
    return transformation(
        ScaleByPolyak(
            hyperparameters.number("f_min", f_min),
            hyperparameters.nonnegative("max_learning_rate", max_learning_rate),
            hyperparameters.nonnegative("eps", eps),
            hyperparameters.one_of("variant", variant, ("sps", "sps+")),
        )
    )


def polyak_sgd(
    max_learning_rate: Scalar = 1.0,
    scaling: ScalarOrSchedule = 1.0,
    f_min: Scalar = 0.0,
    eps: Scalar = 0.0,
    variant: str = "sps",
) -> GradientTransformation:
    r"""Gradient descent whose learning rate follows from the value of the objective.

    .. math::

        u_t = -\alpha_t \min\left( \frac{f(p_{t-1}) - f^*}{\lVert g_t \rVert^2 + \varepsilon},\ \eta_{\max} \right) g_t

    with the norm over all leaves; 0 where it is 0. In the variant ``"sps+"``, a negative difference counts as 0.

    Parameters
    ----------
    max_learning_rate
        :math:`\eta_{\max}`.
    scaling
        :math:`\alpha`: a number, a 0-d array, or a schedule of the step count.
    f_min
        :math:`f^*`, the least value of the objective.
    eps
        :math:`\varepsilon`.
    variant
        ``"sps"`` or ``"sps+"``.

    Returns
    -------
    GradientTransformation
        It has no state but the count of a schedule (int32). Its ``update`` needs the extra argument ``value``, the
        objective at the parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or the variant is unknown.
    MissingArgumentError
        At update, without ``value``.
    ShapeError
        At update, if ``value`` is not one number.

    Notes
    -----
    optax scales the gradients by `scaling` before it takes their norm, so that a smaller one makes larger steps as long
    as the bound is not reached; here it is the factor that the formula says. torch, mlx and keras do not have it.

    References
    ----------
    Loizou et al., "Stochastic Polyak step-size for SGD", AISTATS 2021, arXiv:2002.10542; Garrigos, Gower and Schaipp,
    "Function value learning: adaptive learning rates based on the Polyak stepsize", 2023, arXiv:2307.14528.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.polyak_sgd()
    >>> params = np.asarray([3.0, -4.0])
    >>> tx.update(2 * params, tx.init(params), params, value=np.sum(params**2))[0]
    array([-1.5,  2. ])
    """
    factor = hyperparameters.learning_rate(scaling, "scaling")
    return chain(scale_by_polyak(f_min, max_learning_rate, eps, variant), scale_by_learning_rate(factor))


@dataclass(frozen=True, eq=False)
class ScaleByPolyak(Stage):
    """The stage behind `scale_by_polyak`."""

    f_min: Scalar
    max_learning_rate: Scalar
    eps: Scalar
    variant: str

    def __repr__(self) -> str:
        return (
            f"scale_by_polyak(f_min={self.f_min!r}, max_learning_rate={self.max_learning_rate!r}, eps={self.eps!r}, "
            f"variant={self.variant!r})"
        )

    def init(self, step: Step, params: list[Any]) -> Any:
        return EmptyState()

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("scale_by_polyak", state, EmptyState)
        if extra.get("value") is None:
            raise MissingArgumentError(
                "scale_by_polyak needs the extra argument 'value', the objective at the parameters, but update was "
                "called without it. Call tx.update(grads, state, params, value=...)."
            )
        where = meeting(step.places)
        if where is None:
            return updates, state
        xp, time = step.xp, Time(Clock(step, None), where)
        gap = time.observed("value", extra["value"]) - time.value("f_min", self.f_min)
        squared = sum_of_squares(step, updates, where)
        if self.variant == "sps+":
            gap = xp.maximum(gap + xp.zeros_like(squared), 0.0)
        divisor = squared + time.value("eps", self.eps)
        negligible = divisor <= _NEGLIGIBLE
        length = gap / xp.where(negligible, xp.ones_like(divisor), divisor)
        length = xp.minimum(length, time.value("max_learning_rate", self.max_learning_rate))
        length = xp.where(negligible, xp.zeros_like(length), length)
        return [
            g if g is None or place is None else g * place.bring(length)
            for g, place in zip(updates, step.places, strict=True)
        ], state
