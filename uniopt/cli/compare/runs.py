"""How far two transformations get apart on the standard problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uniopt import backends, tree
from uniopt.cli.present import find_device
from uniopt.conformance import peers
from uniopt.conformance.error_unit import Trajectory, differences
from uniopt.conformance.ground import Ground
from uniopt.conformance.problems import Problem, Values, late, of_length
from uniopt.conformance.programs import Eager
from uniopt.transformation import GradientTransformation

_NAMES = ("normal", "heavy_tailed", "sparse", "tiny", "constant")
LATE = "late"
"""The problem in which some gradients are ``None`` at first."""

_ROUNDING = 8.0
"""By how many units two runs may get apart in a step if they compute the same in another order."""


@dataclass(frozen=True)
class Apart:
    """How far two runs get apart on a problem.

    Attributes
    ----------
    problem
        Its name.
    ulp
        The largest distance, in units of one ulp of the leaf's largest value or distance moved.
    share
        The largest distance, as a share of the distance that the leaf has moved.
    step
        The first step in which there is more than rounding between them; None if there never is.
    """

    problem: str
    ulp: float
    share: float
    step: int | None


def problems(steps: int) -> list[Problem]:
    """Return the problems on which optimizers are compared, with so many steps each."""
    drawn = [of_length(name, steps) for name in _NAMES]
    return [*drawn, late(drawn[0])]


def matrices_of(problem: Problem) -> Problem:
    """Return the problem with its matrices alone."""

    def kept(x: Any) -> Any:
        return {"empty": x["empty"], "matrix": x["matrix"]}

    return replace(problem, params=kept(problem.params), gradients=tuple(map(kept, problem.gradients)))


class Runner:
    """Runs transformations on one library.

    Parameters
    ----------
    library, dtype
        Where to compute.
    chosen
        The problems.
    """

    def __init__(self, library: str, dtype: str, chosen: Sequence[Problem]) -> None:
        backend, setup = backends.get(library), peers.setup(library)
        self._session: Callable[[str], Any] = getattr(setup, "session", lambda dtype: nullcontext())
        self._settle = getattr(setup, "settle", lambda x: x)
        self._ground = Ground(backend, find_device(backend, None), dtype)
        self.problems = [problem for problem in chosen if problem.squares_fit(dtype)]

    def apart(self, first: GradientTransformation, second: GradientTransformation) -> list[Apart]:
        """Return how far two transformations get apart on each problem."""
        with self._session(self._ground.dtype), np.errstate(all="ignore"):
            return [self._apart(problem, first, second) for problem in self.problems]

    def _apart(self, problem: Problem, first: GradientTransformation, second: GradientTransformation) -> Apart:
        expected, found = list(self._path(problem, first)), list(self._path(problem, second))
        structure = tree.flatten(problem.params)[1]
        places = differences(found, expected, tree.paths(structure, "params"), self._ground.dtype)
        beyond = [place.step for place in places if not place.ulp <= _ROUNDING * place.step]
        return Apart(
            problem.name,
            max(place.ulp for place in places),
            _share(found, expected),
            beyond[0] if beyond else None,
        )

    def _path(self, problem: Problem, tx: GradientTransformation) -> Iterator[list[Values | None]]:
        ground, step = self._ground, Eager(tx)
        params = ground.put(problem.params)
        state = tx.init(params)
        yield ground.read(params)
        for gradient, value in zip(problem.gradients, problem.values, strict=True):
            _, state, params = self._settle(step(ground.put(gradient), state, params, ground.number(value)))
            yield ground.read(params)


def _share(found: Trajectory, expected: Trajectory) -> float:
    """Return the largest distance of two leaves, as a share of what the one that is expected has moved by then."""
    shares = [0.0]
    moved = [0.0] * len(expected[0])
    for mine, theirs in zip(found, expected, strict=True):
        for k, (x, y) in enumerate(zip(mine, theirs, strict=True)):
            if x is None or y is None or y.size == 0:
                continue
            moved[k] = max(moved[k], float(np.max(np.abs(y - expected[0][k]))))
            distance = float(np.max(np.abs(x - y)))
            shares.append(distance / moved[k] if moved[k] else np.inf if distance else 0.0)
    return max(shares)
