"""What may find a fault: something that runs in milliseconds, and fails if a number is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
from uniopt.conformance.cases import Case
from uniopt.conformance.cells import Cell, Selection
from uniopt.conformance.oracles import Oracles
from uniopt.conformance.runner import run_cell
from uniopt.conformance.suite import planned
from uniopt.conformance.verdicts import Verdict

RAISES = "raises"
"""With what the failures begin that are errors, not wrong numbers."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Something that fails if a number is wrong.

    Attributes
    ----------
    name
        Its name.
    failure
        Returns what is wrong, or the empty string.
    case
        The case that it walks on NumPy, if it does.
    """

    name: str
    failure: Callable[[], str]
    case: Case | None = None


def of_cells(selection: Selection, cases: Sequence[Case]) -> Iterator[Trial]:
    """Yield the cells of some cases that an oracle has something to say about."""
    cells, oracles = planned(selection, cases)
    for cell in cells:
        yield Trial(cell.name, partial(_failure_of_cell, cell, oracles), cell.case if cell.backend == "numpy" else None)


def of_checks(checks: Iterable[tuple[str, Callable[[], None]]]) -> Iterator[Trial]:
    """Yield functions that assert, each with its name."""
    for name, check in checks:
        yield Trial(name, partial(_failure_of_check, check))


def _failure_of_cell(cell: Cell, oracles: Oracles) -> str:
    result = run_cell(cell, oracles)
    if result.verdict is not Verdict.FAIL:
        return ""
    if result.reason:
        error = result.reason.strip().rpartition("\n")[2]
        return f"{RAISES} {error}"
    wrong = [f"{comparison.worst.ulp:.3g} ulp" for comparison in result.comparisons.values()]
    return ", ".join([*wrong, *filter(None, result.properties.values())])


def _failure_of_check(check: Callable[[], None]) -> str:
    try:
        check()
    except (AssertionError, pytest.fail.Exception) as error:  # the second is no Exception
        return str(error).strip().partition("\n")[0] or "does not hold"
    except Exception as error:
        return f"{RAISES} {type(error).__name__}: {error}"
    return ""
