"""What is tested besides uniopt's own optimizers: transformations and schedules as parts of one, and dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uniopt.conformance.problems import COMPLEX, PROBLEMS, SPOILED, Problem

from uniopt.typing import Tree

STREAMS = (*PROBLEMS.values(), COMPLEX)

FEW = (PROBLEMS["normal"], PROBLEMS["brief"], PROBLEMS["even"], COMPLEX)
"""For what treats every gradient alike."""

WITH_SPOILED = (*FEW, SPOILED)
"""For what treats gradients that are not finite in its own way."""

MODERATE = tuple(problem for problem in STREAMS if problem.name != "huge")
"""For steps as long as the parameters times the gradient, whose squares soon overflow."""

SIXTEEN_BITS = ("float64", "float32", "bfloat16", "float16")
"""For what is made for the small data types."""


def parameters(state: Any, params: Tree) -> Tree:
    """Return the parameters, which is what most subjects are compared by."""
    return params


@dataclass(frozen=True, eq=False)
class Subject:
    """A transformation, a schedule or a dialect's constructor, with all that its cases need.

    Attributes
    ----------
    make
        ``make(library, **hyper)`` returns an optimizer that has it as a part, made of the functions of a library:
        uniopt, or another one with the same names.
    reference
        The naive loops of that optimizer; None for those of dialects, whose frameworks are there to compare with.
    settings
        Its hyperparameters, by a name; the first one is ``"default"``.
    problems
        The problems that it is tested on.
    dtypes
        The data types that it is tested in, unless others are asked for.
    observe
        ``observe(state, params)`` returns what is compared, a tree like the parameters.
    widens
        Whether the updates of 16-bit parameters are of float32, so that they reach the very number.
    needs
        The data types in which it computes, whatever that of the parameters is.
    """

    make: Callable[..., Any]
    reference: Callable[..., Any] | None
    settings: Mapping[str, Mapping[str, Any]]
    problems: Sequence[Problem] = STREAMS
    dtypes: Sequence[str] = ("float64", "float32")
    observe: Callable[[Any, Tree], Tree] = parameters
    widens: bool = False
    needs: Sequence[str] = ()
