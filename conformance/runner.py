"""Running cells: each is walked, compared with its oracles, and judged."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from uniopt.conformance import gaps, peers, tolerances
from uniopt.conformance.cells import Cell
from uniopt.conformance.error_unit import differences
from uniopt.conformance.ground import Ground
from uniopt.conformance.oracles import Oracles
from uniopt.conformance.peers.personality import Personality
from uniopt.conformance.verdicts import Comparison, Verdict, judge
from uniopt.conformance.walk import Walk, walk

from uniopt import backends, tree


@dataclass
class Result:
    """What is known of a cell after its run.

    Attributes
    ----------
    cell
        The cell.
    verdict
        What can be said of it.
    reason
        Why it is UNSUPPORTED or NOT RUN, or which error was raised.
    comparisons
        By oracle.
    properties
        What is wrong, by property; the empty string where it holds.
    compilations
        How often the step was compiled; None where it is not.
    seconds
        Wall time.
    """

    cell: Cell
    verdict: Verdict
    reason: str = ""
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    compilations: int | None = None
    seconds: float = 0.0


def run_cells(cells: Iterable[Cell], oracles: Oracles) -> Iterator[Result]:
    """Yield the result of each cell."""
    for cell in cells:
        started = time.perf_counter()
        result = run_cell(cell, oracles)
        result.seconds = time.perf_counter() - started
        yield result


def run_cell(cell: Cell, oracles: Oracles) -> Result:
    """Return the result of one cell; an error that it raises is its failure."""
    if cell.unavailable:
        return Result(cell, Verdict.NOT_RUN, cell.unavailable)
    setup = peers.setup(cell.backend)
    session = getattr(setup, "session", None)
    shares = setup.shares(cell.device) if setup is not None and cell.mode == "sharded" else None
    manner = setup.PERSONALITIES[cell.personality] if setup is not None and cell.personality else Personality()
    ground = Ground(backends.get(cell.backend), cell.device, cell.dtype, shares, manner.treat)
    # Overflow is part of some problems; what comes of it is compared.
    with np.errstate(all="ignore"):
        with session(cell.dtype) if session else nullcontext(), manner.session():
            steps = partial(walk, cell.case, ground, cell.mode, setup)
            for dtype in (cell.dtype, *cell.case.needs):
                if (gap := gaps.find(ground.backend, cell.device_name, dtype)) is not None:
                    wrong = gaps.check(gap, steps)
                    reason = gap.reason if dtype == cell.dtype else f"{cell.case.optimizer} needs {dtype}: {gap.reason}"
                    return Result(cell, Verdict.FAIL if wrong else Verdict.UNSUPPORTED, wrong or reason)
            try:
                walked = steps()
            except Exception:  # whatever it is, it is what the cell has to show
                return Result(cell, Verdict.FAIL, traceback.format_exc(limit=-3))
        return _judged(cell, walked, oracles)  # the oracles are walked as they are, whatever the personality is


def _judged(cell: Cell, walked: Walk, oracles: Oracles) -> Result:
    paths = tree.paths(tree.flatten(cell.case.problem.params)[1])
    comparisons = {}
    for name, expected in oracles.of(cell).items():
        bound = tolerances.bound(name, *cell.terms)
        assert bound is not None  # oracles without one say nothing
        found = differences(walked.trajectory, expected, paths, cell.dtype)
        comparisons[name] = Comparison.of(found, bound)
    reason = "" if comparisons else "compared with nothing: no oracle that was asked has anything to say about it"
    verdict = judge(comparisons.values(), walked.properties)
    return Result(cell, verdict, reason, comparisons, walked.properties, walked.compilations)
