"""Gaussian noise on the gradients, annealed over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt import hyperparameters, random
from uniopt.clock import Clock, Time
from uniopt.numerics import power
from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, transformation
from uniopt.typing import Array, Scalar


class AddNoiseState(NamedTuple):
    """The step count and the seed of the noise."""

    count: Array  # int32, shape ()
    rng_key: Array  # int32, shape (2,)


def add_noise(eta: Scalar, gamma: Scalar, key: int = 0) -> GradientTransformation:
    r"""Add Gaussian noise whose variance falls with the number of steps.

    .. math::

        u_t = g_t + \mathcal{N}(0, \sigma_t^2), \qquad \sigma_t^2 = \frac{\eta}{t^\gamma}

    with :math:`t` counted from 1.

    Parameters
    ----------
    eta
        Variance of the noise in the first step.
    gamma
        Exponent by which the variance falls.
    key
        Seed of `uniopt.random`, an integer in [0, 2**64): the noise is the same on every library and device.

    References
    ----------
    Neelakantan et al., "Adding gradient noise improves learning for very deep networks", 2015, arXiv:1511.06807.
    """
    seed = hyperparameters.integer("key", key, at_least=0, below=2**64)
    return transformation(
        AddNoise(hyperparameters.nonnegative("eta", eta), hyperparameters.number("gamma", gamma), seed)
    )


@dataclass(frozen=True, eq=False, repr=False)
class AddNoise(Stage):
    """The stage behind `add_noise`."""

    eta: Scalar
    gamma: Scalar
    key: int

    def __repr__(self) -> str:
        return f"add_noise(eta={self.eta!r}, gamma={self.gamma!r}, key={self.key!r})"

    def init(self, step: Step, params: list[Any]) -> Any:
        count = step.counter()
        return AddNoiseState(count, random.key(self.key, like=count))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("add_noise", state, AddNoiseState)
        clock = Clock(step, state.count)
        key = random.fold_in(state.rng_key, state.count)
        results: list[Any] = []
        for i, (g, place) in enumerate(zip(updates, step.places, strict=True)):
            if g is None or place is None:
                results.append(None)
                continue
            deviation = Time(clock, place).once(_deviation, self.eta, self.gamma)
            results.append(g + deviation * random.normal(key, like=g, stream=i))
        return results, AddNoiseState(clock.next(), state.rng_key)


def _deviation(xp: Any, t: Array, eta: Scalar, gamma: Scalar) -> Array:
    return xp.sqrt(eta / power(xp, t, gamma))
