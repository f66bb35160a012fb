"""How verdicts are reached: no number, no property and no missing oracle slips through."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import pytest
from uniopt.conformance import Record, Selection, gaps, tolerances
from uniopt.conformance.cases import all_cases
from uniopt.conformance.cells import DTYPES, MODES, ORACLES
from uniopt.conformance.error_unit import Place
from uniopt.conformance.objectives import OBJECTIVES
from uniopt.conformance.suite import run
from uniopt.conformance.tolerances import Bound
from uniopt.conformance.verdicts import Comparison, Verdict, judge

import uniopt


def comparison(*ulps: float) -> Comparison:
    places = [Place(step, "p", (), 1.0, 1.0, error) for step, error in enumerate(ulps, start=1)]
    return Comparison.of(places, Bound(4, 64, "for the test"))


@pytest.mark.parametrize(
    ("ulps", "verdict", "step"),
    [
        ((0.0, 4.0), Verdict.PASS, None),
        ((4.5, 0.0), Verdict.INEXACT, 1),
        ((1.0, 5.0, 64.0), Verdict.INEXACT, 2),
        ((1.0, 64.5), Verdict.FAIL, 2),
        ((0.0, math.inf), Verdict.FAIL, 2),
        ((math.nan,), Verdict.FAIL, 1),
    ],
)
def test_a_comparison(ulps: tuple[float, ...], verdict: Verdict, step: int | None) -> None:
    found = comparison(*ulps)
    assert found.verdict == verdict
    assert (found.diverges and found.diverges.step) == step


@pytest.mark.parametrize(
    ("comparisons", "properties", "verdict"),
    [
        ([comparison(0.0)], {"state": ""}, Verdict.PASS),
        ([comparison(0.0), comparison(5.0)], {"state": ""}, Verdict.INEXACT),
        ([comparison(5.0), comparison(65.0)], {}, Verdict.FAIL),
        ([comparison(0.0)], {"leaves": "", "state": "params moved"}, Verdict.FAIL),
        ([], {"state": ""}, Verdict.FAIL),
    ],
)
def test_a_cell(comparisons: list[Comparison], properties: dict[str, str], verdict: Verdict) -> None:
    assert judge(comparisons, properties) == verdict


def test_every_bound_has_a_reason_and_wide_is_not_below_tight() -> None:
    known = {(case.optimizer, case.setting) for case in all_cases()}
    for row in tolerances.TABLE:
        assert row.bound.reason
        assert 0 <= row.bound.tight <= row.bound.wide
        patterns = (
            (row.problem, ("normal", "matrices", *OBJECTIVES)),
            (row.backend, uniopt.backends.names()),
            (row.device, ("cpu", "no_float64")),
            (row.dtype, DTYPES),
            (row.mode, MODES),
        )
        places = [[value for value in values if fnmatchcase(value, pattern)] for pattern, values in patterns]
        subjects = [key for key in known if fnmatchcase(key[0], row.optimizer) and fnmatchcase(key[1], row.setting)]
        oracles = [name for name in ORACLES if fnmatchcase(name, row.oracle)]
        asked = ((o, *subject, *place) for o, subject, place in product(oracles, subjects, product(*places)))
        assert any(tolerances.row_of(*terms) is row for terms in asked), f"{row} is never used"


def test_strict_is_held_to_the_bit() -> None:
    where = ("array_api_strict", "CPU_DEVICE", "float32", "eager")
    bound = tolerances.bound("numpy", "muon", "default", "network", *where)
    assert bound is not None
    assert (bound.tight, bound.wide) == (0, 0)


def test_a_declared_gap_is_unsupported_once_it_is_seen_to_raise() -> None:
    record = sgd_on("array_api_strict", "float16")
    assert {cell["verdict"] for cell in record.cells} == {"UNSUPPORTED"}
    assert "no 16-bit floats" in record.cells[0]["reason"]
    assert record.exit_code() == 0


def test_a_declared_gap_that_works_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "GAPS", (gaps.Gap("array_api_strict", "*", "float32", "planted"),))
    record = sgd_on("array_api_strict", "float32")
    assert {cell["verdict"] for cell in record.cells} == {"FAIL"}
    assert "take the declaration out" in record.cells[0]["reason"]


def test_a_declared_gap_that_raises_another_error_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "GAPS", (gaps.Gap("array_api_strict", "*", "float16", "planted", ZeroDivisionError),))
    record = sgd_on("array_api_strict", "float16")
    assert "declared to raise ZeroDivisionError, but raised UnsupportedDtypeError" in record.cells[0]["reason"]
    assert record.exit_code() == 1


def test_an_undeclared_gap_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "GAPS", ())
    record = sgd_on("array_api_strict", "float16")
    assert "UnsupportedDtypeError" in record.cells[0]["reason"]
    assert record.exit_code() == 1


def test_what_cannot_run_is_not_run_and_never_green(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniopt.backends, "why_unavailable", lambda name: "no device, says the test")
    record = sgd_on("numpy", "float64")
    assert {cell["verdict"] for cell in record.cells} == {"NOT RUN"}
    assert record.cells[0]["reason"] == "no device, says the test"
    assert record.exit_code() == 3
    nothing = run(Selection(dtypes=["float64"], optimizers=["sgd"], against=["reference"], quick=True))
    assert nothing.exit_code() == 2


def sgd_on(backend: str, dtype: str, **more: Any) -> Record:
    against = ["reference", "numpy"]
    return run(Selection(backends=[backend], dtypes=[dtype], optimizers=["sgd"], against=against, quick=True, **more))
