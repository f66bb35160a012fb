"""Differentially private gradients: what a single example can add to them is limited, and hidden by noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, random
from uniopt.chain import chain
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, transformation
from uniopt.transforms.per_example import batch_size, clipped_sum
from uniopt.transforms.scale import identity, scale_by_learning_rate
from uniopt.transforms.trace import trace
from uniopt.typing import Array, Scalar, ScalarOrSchedule


class DifferentiallyPrivateAggregateState(NamedTuple):
    """The key of the noise."""

    rng_key: Array  # int32, shape (2,)


def differentially_private_aggregate(
    l2_norm_clip: Scalar, noise_multiplier: Scalar, key: int | None = None, *, seed: int | None = None
) -> GradientTransformation:
    r"""Average the gradients of a batch, each limited in its norm, and add Gaussian noise.

    .. math::

        u = \frac{1}{B} \left(\sum_{i=1}^{B} g_i \min\left(1, \frac{c}{\lVert g_i \rVert}\right)
        + \mathcal{N}(0, (\sigma c)^2)\right)

    Parameters
    ----------
    l2_norm_clip
        :math:`c`, not below 0: the largest norm of an example's gradient over all leaves.
    noise_multiplier
        :math:`\sigma`, not below 0: the noise's standard deviation relative to `l2_norm_clip`.
    key
        Seed of the noise, an integer in [0, 2**64); None is 0. The noise is the same on every library and device.
    seed
        Another name of `key`; only one of them may be given.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or both `key` and `seed` are given.
    ShapeError
        At update, if a gradient has no first axis of examples, or one of another length than the others.

    Notes
    -----
    It takes the gradients of single examples, stacked along a first axis that the parameters have not: of ``B``
    examples, the gradient of a parameter of shape ``(3, 2)`` has shape ``(B, 3, 2)``. So it stands first in a chain.
    Averaging gradients before it, as gradient accumulation does, takes the privacy away.

    optax draws its noise from JAX's own generator, so its numbers differ; the variances are the same.

    The noise comes from a counter-based generator that is not made for cryptography. It makes runs repeatable; whoever
    knows the seed can take it out.

    References
    ----------
    Abadi et al., "Deep learning with differential privacy", CCS 2016, arXiv:1607.00133.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.differentially_private_aggregate(l2_norm_clip=1.0, noise_multiplier=0.0)
    >>> params = {"w": np.asarray([0.0, 0.0])}
    >>> grads = {"w": np.asarray([[3.0, 4.0], [0.0, 0.5]])}
    >>> tx.update(grads, tx.init(params), params)[0]
    {'w': array([0.3 , 0.65])}
    """
    return transformation(
        DifferentiallyPrivateAggregate(
            hyperparameters.nonnegative("l2_norm_clip", l2_norm_clip),
            hyperparameters.nonnegative("noise_multiplier", noise_multiplier),
            hyperparameters.seed(key, seed),
        )
    )


def dpsgd(
    learning_rate: ScalarOrSchedule,
    l2_norm_clip: Scalar,
    noise_multiplier: Scalar,
    seed: int,
    momentum: Scalar | None = None,
    nesterov: bool = False,
) -> GradientTransformation:
    r"""Differentially private gradient descent, with momentum if wanted.

    :math:`g_t` of `sgd` is what `differentially_private_aggregate` makes of the gradients of a batch.

    Parameters
    ----------
    learning_rate
        :math:`\eta_t`: a number, a 0-d array, or a schedule of the step count.
    l2_norm_clip
        The largest norm of an example's gradient, not below 0.
    noise_multiplier
        The noise's standard deviation relative to `l2_norm_clip`, not below 0.
    seed
        Seed of the noise, an integer in [0, 2**64).
    momentum
        The share of the momentum that is kept, in [0, 1); None for none.
    nesterov
        Whether the momentum looks one step ahead.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    See `differentially_private_aggregate` for the shapes of the gradients and for the noise.

    References
    ----------
    Abadi et al., "Deep learning with differential privacy", CCS 2016, arXiv:1607.00133.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.dpsgd(0.5, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
    >>> params = np.asarray([1.0, 2.0])
    >>> grads = np.asarray([[3.0, 4.0], [0.0, 0.5]])
    >>> tx.update(grads, tx.init(params), params)[0]
    array([-0.15 , -0.325])
    """
    return chain(
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed=seed),
        identity() if momentum is None else trace(hyperparameters.decay_rate("momentum", momentum), nesterov),
        scale_by_learning_rate(learning_rate),
    )


@dataclass(frozen=True, eq=False, repr=False)
class DifferentiallyPrivateAggregate(Stage):
    """The stage behind `differentially_private_aggregate`."""

    l2_norm_clip: Scalar
    noise_multiplier: Scalar
    key: int

    def __repr__(self) -> str:
        return (
            f"differentially_private_aggregate(l2_norm_clip={self.l2_norm_clip!r}, "
            f"noise_multiplier={self.noise_multiplier!r}, key={self.key!r})"
        )

    def per_example(self) -> bool:
        return True

    def init(self, step: Step, params: list[Any]) -> Any:
        return DifferentiallyPrivateAggregateState(random.key(self.key, like=step.counter()))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("differentially_private_aggregate", state, DifferentiallyPrivateAggregateState)
        examples = batch_size(step, updates, params)
        sums, _ = clipped_sum(step, updates, self.l2_norm_clip)
        following, key = random.split(state.rng_key)
        results: list[Any] = []
        for i, (total, place) in enumerate(zip(sums, step.places, strict=True)):
            if total is None or place is None:
                results.append(None)
                continue
            deviation = place.bring(self.l2_norm_clip) * place.bring(self.noise_multiplier)
            results.append((total + deviation * random.normal(key, like=total, stream=i)) / examples)
        return results, DifferentiallyPrivateAggregateState(following)
