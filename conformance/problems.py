"""Problems: parameters, and a recorded gradient for every step, so that all libraries see the same numbers.

Those with an objective instead are in `uniopt.conformance.objectives`.

The trees hold a 0-d, an empty, an odd, a 4-D and a transposed 2-D leaf, one that starts at zero (its error unit is the
distance moved alone), and ``None``. Everything is NumPy float64, drawn from one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from uniopt import tree
from uniopt.pairs import LookaheadParams
from uniopt.typing import Tree

Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]

SEED = 20240229
STEPS = 6


@dataclass(frozen=True, eq=False)
class Problem:
    """Parameters, and a recorded stream of gradients or an objective.

    Attributes
    ----------
    name
        What the problem is called in case names.
    params
        A tree of NumPy float64 arrays.
    gradients
        One tree for each step, like the parameters; ``None`` skips a leaf in that step. Empty with an objective.
    scale
        The order of magnitude of the parameters and the gradients.
    brief
        Whether it is small enough for where an operation takes long.
    even
        Whether four devices can share each leaf that has axes.
    objective
        Returns the value and the gradient at parameters; None where gradients are recorded.
    """

    name: str
    params: Tree
    gradients: tuple[Tree, ...] = ()
    scale: float = 1.0
    brief: bool = False
    even: bool = False
    objective: Callable[[Tree], tuple[float, Tree]] | None = None

    def batch(self) -> tuple[Problem, ...]:
        """Return this problem and two others of the same shapes, for runs that are stepped together."""
        backwards = replace(self, gradients=self.gradients[::-1])
        mirrored, *gradients = (tree.map(lambda leaf: np.asarray(-leaf), x) for x in (self.params, *self.gradients))
        return self, backwards, replace(self, params=mirrored, gradients=tuple(gradients))

    @property
    def steps(self) -> int:
        """Return how many steps are taken."""
        return len(self.gradients) or STEPS

    @property
    def is_complex(self) -> bool:
        """Return whether the parameters are complex."""
        return any(np.iscomplexobj(x) for x in tree.leaves(self.params))

    def at(self, step: int, leaves: Sequence[Values | None]) -> tuple[float, Tree]:
        """Return the objective's value and the gradient in a step, counted from 0, for parameters with these leaves."""
        if self.objective is None:
            return self.values[step], self.gradients[step]
        wide = [None if x is None else np.asarray(x, np.float64) for x in leaves]
        value, gradient = self.objective(tree.unflatten(tree.flatten(self.params)[1], wide))
        return value, tree.map(np.asarray, gradient)  # of a 0-d array, arithmetic makes a scalar

    @property
    def values(self) -> tuple[float, ...]:
        """Return what is said to be the objective where gradients are recorded, for the optimizers that ask for it."""
        return tuple(2.0 + (-0.75) ** step for step in range(len(self.gradients)))

    def squares_fit(self, dtype: str) -> bool:
        """Return whether a dtype can hold the squares of the gradients; those that are too small may become 0."""
        return self.scale**2 < (1e38 if dtype in ("float32", "bfloat16") else 1e4 if dtype == "float16" else 1e300)

    def squares_vanish(self, dtype: str) -> bool:
        """Return whether the squares of the gradients are 0 in a dtype."""
        return self.scale**2 < (1e-45 if dtype in ("float32", "bfloat16", "float16") else 1e-300)

    @property
    def skips(self) -> bool:
        """Return whether some gradient is ``None`` where another step has one."""
        return len({len(tree.leaves(gradient)) for gradient in self.gradients}) > 1


Stream: TypeAlias = Callable[[np.random.Generator, int, tuple[int, ...]], Values]


def parameters(rng: np.random.Generator, scale: float = 1.0) -> Tree:
    """Return the tree of parameters, standard normal times `scale`."""

    def draw(*shape: int) -> Values:
        return np.asarray(scale * rng.standard_normal(shape))

    return {
        "scalar": draw(),
        "empty": draw(0, 3),
        "vector": (draw(7), np.zeros(3)),
        "matrix": draw(5, 3).T,
        "kernel": [draw(2, 3, 2, 2), None],
    }


def recorded(name: str, stream: Stream, scale: float = 1.0, steps: int = STEPS) -> Problem:
    """Return the problem whose gradients are drawn leaf by leaf from a stream."""
    rng = np.random.default_rng(SEED)
    params = parameters(rng, scale)

    def gradient(step: int) -> Tree:
        return tree.map(lambda p: _in_order_of(p, scale * stream(rng, step, p.shape)), params)

    return Problem(name, params, tuple(gradient(step) for step in range(steps)), scale)


def _in_order_of(p: Values, values: Any) -> Values:
    """Return the values with the memory order of a parameter, as autodiff does."""
    g = np.empty_like(p)
    g[...] = values
    return g


def _normal(rng: np.random.Generator, step: int, shape: tuple[int, ...]) -> Values:
    return np.asarray(rng.standard_normal(shape))


def _heavy_tailed(rng: np.random.Generator, step: int, shape: tuple[int, ...]) -> Values:
    return np.asarray(rng.standard_t(1.5, shape))


def _sparse(rng: np.random.Generator, step: int, shape: tuple[int, ...]) -> Values:
    """Four of five are exactly zero, and all of them in the first step."""
    drawn = rng.standard_normal(shape)
    return np.where((rng.random(shape) < 0.2) & (step > 0), drawn, 0.0)


def _sign_flips(rng: np.random.Generator, step: int, shape: tuple[int, ...]) -> Values:
    return np.asarray((-1.0) ** step * (1.0 + rng.random(shape)))


def _constant(rng: np.random.Generator, step: int, shape: tuple[int, ...]) -> Values:
    """The same numbers in every step, of both signs."""
    size = int(np.prod(shape))
    return np.asarray((np.arange(size) + 1.0) * (-1.0) ** np.arange(size) / (size + 1)).reshape(shape)


def _skipping(problem: Problem) -> Problem:
    """Return the problem with no gradient for the matrix in every other step."""
    gradients = tuple(
        {**gradient, "matrix": None} if step % 2 else gradient for step, gradient in enumerate(problem.gradients)
    )
    return Problem("skipped", problem.params, gradients)


def late(problem: Problem) -> Problem:
    """Return the problem with no gradient for the matrix and the scalar before the third step."""
    gradients = tuple(
        {**gradient, "matrix": None, "scalar": None} if step < 2 else gradient
        for step, gradient in enumerate(problem.gradients)
    )
    return Problem("late", problem.params, gradients)


def _few(scalar: Values, vector: Values, matrix: Values) -> Tree:
    """Return the tree of parameters with three leaves alone."""
    return {"scalar": scalar, "empty": None, "vector": (vector, None), "matrix": matrix, "kernel": [None, None]}


def _brief() -> Problem:
    """Return a problem of three leaves, each with a stream of its own, for where an operation takes long."""
    rng = np.random.default_rng(SEED)
    full = parameters(rng)

    def gradient(step: int) -> Tree:
        matrix = _in_order_of(full["matrix"], _normal(rng, step, (3, 5)))
        return _few(_sign_flips(rng, step, ()), _sparse(rng, step, (7,)), matrix)

    params = _few(full["scalar"], full["vector"][0], full["matrix"])
    return Problem("brief", params, tuple(gradient(step) for step in range(4)), brief=True)


def _even() -> Problem:
    """Return a problem whose leaves can be shared by four devices."""
    rng = np.random.default_rng(SEED)

    def draw() -> Tree:
        return _few(*(np.asarray(rng.standard_normal(shape)) for shape in ((), (4,), (8, 6))))

    return Problem("even", draw(), tuple(draw() for _ in range(4)), even=True)


def _matrices() -> Problem:
    """Return a problem of matrices alone: square, tall, transposed, and one of zeros."""
    rng = np.random.default_rng(SEED)

    def draw(*shape: int) -> Values:
        return np.asarray(rng.standard_normal(shape))

    params = {"square": draw(4, 4), "rest": [draw(6, 4), (draw(5, 3).T, np.zeros((2, 3)))]}
    gradients = tuple(tree.map(lambda p: _in_order_of(p, draw(*p.shape)), params) for _ in range(4))
    return Problem("matrices", params, gradients, brief=True)


def _complex(problem: Problem) -> Problem:
    """Return the problem with imaginary parts as large as the real ones."""
    rng = np.random.default_rng(SEED + 1)

    def with_imaginary_parts(x: Tree) -> Tree:
        return tree.map(lambda leaf: _in_order_of(leaf + 0j, leaf + 1j * rng.standard_normal(leaf.shape)), x)

    gradients = tuple(map(with_imaginary_parts, problem.gradients))
    return replace(problem, name="complex", params=with_imaginary_parts(problem.params), gradients=gradients)


def _spoiled(problem: Problem) -> Problem:
    """Return the problem with a NaN in the vector of the second gradient, and an infinity in that of the third."""

    def spoil(gradient: Tree, bad: float) -> Tree:
        first, *others = gradient["vector"]
        first = first.copy()
        first[0] = bad
        return {**gradient, "vector": (first, *others)}

    begin, second, third, *rest = problem.gradients
    gradients = (begin, spoil(second, np.nan), spoil(third, np.inf), *rest)
    return replace(problem, name="spoiled", gradients=gradients)


def paired(problem: Problem) -> Problem:
    """Return the problem for fast and slow parameters, which start at different places."""
    slow = tree.map(lambda p: 0.5 * p, problem.params)
    return replace(problem, params=LookaheadParams(problem.params, slow))


_STREAMS: dict[str, tuple[Stream, float]] = {
    "normal": (_normal, 1.0),
    "heavy_tailed": (_heavy_tailed, 1.0),
    "sparse": (_sparse, 1.0),
    "tiny": (_normal, 1e-30),
    "huge": (_normal, 1e30),
    "sign_flips": (_sign_flips, 1.0),
    "constant": (_constant, 1.0),
}


def of_length(name: str, steps: int = STEPS) -> Problem:
    """Return the problem of that name, whose gradients are all drawn from one stream, with so many steps."""
    stream, scale = _STREAMS[name]
    return recorded(name, stream, scale, steps)


_NORMAL, *_OTHERS = (of_length(name) for name in _STREAMS)

PROBLEMS = {
    problem.name: problem for problem in (_NORMAL, _brief(), *_OTHERS, _skipping(_NORMAL), late(_NORMAL), _even())
}

SPOILED = _spoiled(PROBLEMS["brief"])
"""Gradients that are not finite: some treat them in their own way, and the optimizers pass them on."""

MATRICES = _matrices()
"""A problem for what takes nothing else."""

COMPLEX = _complex(PROBLEMS["brief"])
"""A problem for what is defined for complex numbers."""
