"""Labels for `partition` from patterns of the parameters' paths."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate

from uniopt import hyperparameters, tree
from uniopt.errors import HyperparameterError
from uniopt.typing import Tree


def path_labels(patterns: Mapping[str, Hashable], *, otherwise: Hashable = None) -> PathLabels:
    """Return a function that labels each parameter by its path, for `partition` and as a mask.

    The path of a parameter is its keys, attributes and indices with dots between them: that of
    ``params["encoder"].layers[0]["weight"]`` is ``encoder.layers.0.weight``, as in torch's ``named_parameters``. A tree
    that is one array has the empty path.

    Parameters
    ----------
    patterns
        A label for each pattern. A pattern stands for the whole path: ``*`` for any characters, dots too, or none,
        ``?`` for one character, ``[ab]`` for one of some, ``[!ab]`` for one of all others. Upper and lower case differ.
    otherwise
        The label of a parameter that no pattern matches; by default there must be none.

    Returns
    -------
    PathLabels
        The function from a tree to the tree of its labels.

    Raises
    ------
    HyperparameterError
        At once, if `patterns` is no dict, a pattern no string, or a label None; when called, if a parameter is matched
        by no pattern, or by more than one. The message lists them.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> labels = uniopt.path_labels({"*.bias": "no_decay", "*.weight": "decay"})
    >>> labels({"dense": {"bias": np.zeros(2), "weight": np.ones((2, 2))}})
    {'dense': {'bias': 'no_decay', 'weight': 'decay'}}
    """
    given = hyperparameters.mapping("patterns", patterns, "patterns and labels")
    for pattern, label in given.items():
        if not isinstance(pattern, str):
            raise HyperparameterError(f"The pattern {pattern!r} is no string, expected one such as '*.bias'.")
        if label is None:
            raise HyperparameterError(f"The label of {pattern!r} is None, expected a name, a number or a bool.")
    return PathLabels(tuple(given.items()), otherwise)


@dataclass(frozen=True)
class PathLabels:
    """A function from a tree to the tree of its labels; see `path_labels`.

    Attributes
    ----------
    patterns
        Pairs of pattern and label.
    otherwise
        The label of what no pattern matches, or None.
    """

    patterns: tuple[tuple[str, Hashable], ...]
    otherwise: Hashable = None
    _compiled: tuple[re.Pattern[str], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", tuple(re.compile(translate(pattern)) for pattern, _ in self.patterns))

    def __repr__(self) -> str:
        otherwise = "" if self.otherwise is None else f", otherwise={self.otherwise!r}"
        return f"path_labels({dict(self.patterns)!r}{otherwise})"

    def __call__(self, params: Tree) -> Tree:
        """Return the labels of the parameters."""
        leaves, structure = tree.flatten(params)
        names = [pattern for pattern, _ in self.patterns]
        paths = tree.dotted_paths(structure)
        matches = [[k for k, pattern in enumerate(self._compiled) if pattern.match(path)] for path in paths]
        present = [i for i, leaf in enumerate(leaves) if leaf is not None]
        unmatched = [paths[i] for i in present if not matches[i] and self.otherwise is None]
        twice = [
            f"{paths[i]} ({' and '.join(repr(names[k]) for k in matches[i])})" for i in present if len(matches[i]) > 1
        ]
        if unmatched or twice:
            raise HyperparameterError(
                f"The patterns are {', '.join(map(repr, names))}, expected each parameter to match one of them."
                + (f" No pattern matches {', '.join(unmatched)}: add one, or give otherwise=." if unmatched else "")
                + (f" Several match {', '.join(twice)}: make them narrower." if twice else "")
            )
        return tree.unflatten(structure, [self.patterns[found[0]][1] if found else self.otherwise for found in matches])
