"""The suite as functions: plan, run, and check one optimizer of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from uniopt.conformance import waivers
from uniopt.conformance.cases import Case, all_cases
from uniopt.conformance.cells import Cell, Selection, plan
from uniopt.conformance.objectives import OBJECTIVES
from uniopt.conformance.oracles import Oracles
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.record import Record, entry
from uniopt.conformance.report import text
from uniopt.conformance.required import Required
from uniopt.conformance.runner import Result, run_cells
from uniopt.conformance.waivers import Waiver

from uniopt import backends


class ConformanceError(AssertionError):
    """A cell failed, or nothing was compared; the message is the report."""


def planned(selection: Selection, cases: Sequence[Case] | None = None) -> tuple[list[Cell], Oracles]:
    """Return the cells of a selection that some oracle can judge, or could if it were installed, and the oracles."""
    oracles = Oracles(selection.oracles())
    cells = []
    for cell in plan(all_cases() if cases is None else cases, selection):
        if oracles.any(cell):
            cells.append(cell)
        elif reason := oracles.lacking(cell):
            cells.append(replace(cell, unavailable=cell.unavailable or reason))
    return cells, oracles


def run(
    selection: Selection = Selection(),  # noqa: B008 (frozen)
    cases: Sequence[Case] | None = None,
    on_result: Callable[[Result], None] = lambda result: None,
    given: Sequence[Waiver] = (),
) -> Record:
    """Return the record of a run.

    Parameters
    ----------
    selection
        Which cells; by default those that the suite chooses.
    cases
        The cases; by default those of every exported optimizer.
    on_result
        Called after each cell.
    given
        Waivers, besides the suite's own.
    """
    cells, oracles = planned(selection, cases)
    entries = []
    for result in run_cells(cells, oracles):
        on_result(result)
        entries.append(entry(result))
    return recorded(entries, cells, oracles, selection, given)


def recorded(
    entries: Sequence[dict[str, Any]],
    cells: Sequence[Cell],
    oracles: Oracles,
    selection: Selection,
    given: Sequence[Waiver] = (),
) -> Record:
    """Return the record of a run: the entries of its cells, and what the waivers and the required list say of them."""
    own = waivers.load(waivers.OWN)
    is_part = selection.is_part()
    stale = [
        *waivers.stale(own, entries, is_part or bool(selection.shards)),
        *waivers.stale(given, entries, bool(selection.cells or selection.shards)),
    ]
    required = Required.load()
    not_planned = None if is_part else required.of(selection).missing(cells)
    return Record.of(
        waivers.waived([*given, *own], entries),
        missing(selection, oracles, cells),
        {"version": required.version, "missing": not_planned},
        stale,
        oracles.peers(),
    )


def check(
    make: Callable[..., Any],
    reference: Callable[..., Any] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    selection: Selection = Selection(against=("reference", "numpy")),  # noqa: B008 (frozen)
) -> Record:
    """Test an optimizer on every library that is installed, and raise unless it conforms.

    Parameters
    ----------
    make
        Returns a gradient transformation when called with hyperparameters.
    reference
        The same optimizer as naive loops, like those of `uniopt.conformance.reference`; without it, the other
        libraries are compared with NumPy.
    settings
        Hyperparameters by a name of your choice; by default none.
    selection
        Which libraries, data types and modes.

    Returns
    -------
    Record

    Raises
    ------
    ConformanceError
        If a cell fails, a library that was named cannot run, or no cell was run.
    """
    name = getattr(make, "__name__", type(make).__name__)
    cases = [
        Case(name, setting, problem, hyper, make, reference)
        for setting, hyper in (settings or {"default": {}}).items()
        for problem in (*PROBLEMS.values(), *OBJECTIVES.values())
    ]
    record = run(selection, cases)
    if record.exit_code():
        raise ConformanceError("\n" + text(record))
    return record


def missing(selection: Selection, oracles: Oracles, cells: Sequence[Cell]) -> dict[str, str]:
    """Return what was asked for by name and cannot run, with the reason."""
    reasons = {name: backends.why_unavailable(name) for name in selection.named_backends()}
    found = {name: reason for name, reason in reasons.items() if reason}
    for cell in cells:
        if cell.unavailable and cell.mode in selection.modes and cell.backend not in found:
            found[f"{cell.backend} {cell.mode}"] = cell.unavailable
    return found | {name: reason for name, reason in oracles.absent.items() if name in selection.against}
