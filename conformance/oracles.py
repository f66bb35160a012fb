"""What a cell is compared with: the reference, NumPy, and the frameworks' own optimizers. Each path is walked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from uniopt.conformance import peers, tolerances
from uniopt.conformance.cases import Case
from uniopt.conformance.cells import Cell
from uniopt.conformance.error_unit import Trajectory
from uniopt.conformance.ground import Ground
from uniopt.conformance.problems import Problem, Values
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.settings import DIVIDES_BY_SQUARES
from uniopt.conformance.walk import walk

from uniopt import backends, tree
from uniopt.typing import Tree


class Oracles:
    """The oracles that are asked for, and the paths that they have walked.

    Attributes
    ----------
    absent
        Those that cannot be asked here, each with the reason.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        reasons = {name: peers.why_absent(name) for name in self.peers()}
        self.absent = {name: reason for name, reason in reasons.items() if reason}
        self._known: dict[tuple[str, Case, str, bool], Trajectory] = {}

    def peers(self) -> list[str]:
        """Return the frameworks among the oracles."""
        return [name for name in self.names if name in peers.ORACLES]

    def speaks(self, name: str, cell: Cell) -> bool:
        """Return whether an oracle has anything to say about a cell."""
        if name in self.absent or tolerances.bound(name, *cell.terms) is None:
            return False
        if name == "reference":
            problem = cell.case.problem
            if problem.is_complex:  # the loops are over Python floats
                return False
            lost = cell.case.optimizer in DIVIDES_BY_SQUARES and problem.squares_vanish(cell.dtype)
            return cell.case.reference is not None and problem.squares_fit(cell.dtype) and not lost
        if name == "numpy":
            return (cell.backend, cell.mode) != ("numpy", "eager") and cell.case.runs("numpy", "eager")
        return bool(_peer(name).covers(cell.case))

    def any(self, cell: Cell) -> bool:
        """Return whether a cell is compared with anything at all."""
        return any(self.speaks(name, cell) for name in self.names)

    def lacking(self, cell: Cell) -> str:
        """Return why nothing compares a cell of a dialect with anything, or the empty string."""
        return self.absent.get(cell.case.dialect, "")

    def of(self, cell: Cell) -> dict[str, Trajectory]:
        """Return the path that each oracle expects of a cell."""
        return {name: self._path(name, cell) for name in self.names if self.speaks(name, cell)}

    def _path(self, name: str, cell: Cell) -> Trajectory:
        together = cell.mode == "vmap"
        key = (name, cell.case, cell.dtype, together)
        if key not in self._known:
            self._known[key] = (_batch if together else _walk)(name, cell.case, cell.dtype)
        return self._known[key]


def _batch(name: str, case: Case, dtype: str) -> Trajectory:
    """Return the paths of a batch of problems, each walked alone, as one path of arrays with an axis for them."""
    alone = [_walk(name, replace(case, problem=problem), dtype) for problem in case.problem.batch()]
    return [
        [None if leaf[0] is None else np.stack(leaf) for leaf in zip(*members, strict=True)]
        for members in zip(*alone, strict=True)
    ]


def _walk(name: str, case: Case, dtype: str) -> Trajectory:
    if name == "reference":
        return _reference(case, dtype)
    if name == "numpy":
        return walk(case, _host(dtype)).trajectory
    path: Trajectory = _peer(name).trajectory(replace(case, problem=_held(case.problem, dtype)))
    return path


def _held(problem: Problem, dtype: str) -> Problem:
    """Return what a data type holds of a problem, in float64 again, because the peers compute in that."""
    host = _host(dtype)

    def held(x: Values) -> Values:
        y = host.backend.to_numpy(host.put(x))
        return np.asarray(y, np.complex128 if np.iscomplexobj(y) else np.float64, order="K")

    gradients = tuple(tree.map(held, gradient) for gradient in problem.gradients)
    return replace(problem, params=tree.map(held, problem.params), gradients=gradients)


def _peer(name: str) -> Any:
    peer = peers.oracle(name)
    assert peer is not None  # the absent ones are not asked
    return peer


def _reference(case: Case, dtype: str) -> Trajectory:
    """Return the path of the naive loops in float64, from what the dtype holds of the problem."""
    assert case.reference is not None  # else it has nothing to say
    host = _host(dtype)
    start = host.read(host.put(case.problem.params))
    present = [x is not None for x in start]
    # An absent parameter keeps its place as one without elements, for the noise is numbered by the leaves.
    params = [Leaf((0,), []) if x is None else Leaf.of(x) for x in start]
    path: list[list[Values | None]] = [start]

    def now() -> Iterator[tuple[float, Tree]]:
        for step in range(case.problem.steps):
            if case.problem.objective is not None and len(path) != step + 1:
                raise RuntimeError("The reference asks for a gradient before it has said where the last one led.")
            yield case.problem.at(step, path[-1])

    gradients = ([None if g is None else Leaf.of(g) for g in host.read(host.put(gradient))] for _, gradient in now())
    hyper = case.plain_hyper()
    if case.asks_for_values():
        hyper["values"] = (value for value, _ in now())
    for leaves in case.reference(params, gradients, **hyper):
        arrays = [np.asarray(leaf.values, np.float64).reshape(leaf.shape) for leaf in leaves]
        path.append([x if here else None for x, here in zip(arrays, present, strict=True)])
    return path


def _host(dtype: str) -> Ground:
    return Ground(backends.get("numpy"), "cpu", dtype)
