"""The required list: what drops out of the plan is an error, and the list follows the plan on purpose only."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from uniopt.conformance import Record, Selection, cases, cells, report, required, suite, waivers
from uniopt.conformance.cells import Cell
from uniopt.conformance.required import Required

from uniopt.cli import main


@pytest.fixture(scope="module")
def planned() -> list[Cell]:
    return suite.planned(Selection())[0]


def test_the_list_is_the_plan(planned: list[Cell]) -> None:
    listed = Required.load()
    assert listed.missing(planned) == []
    assert listed.cells == required.by_case(planned), "run `uniopt conformance required`: the plan has more"


def test_what_is_no_longer_planned_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    some = replace(Required.load(), cells={k: v for k, v in Required.load().cells.items() if k.startswith("adam/")})
    monkeypatch.setitem(cells._BY_DEFAULT, "torch", ["eager"])
    monkeypatch.setattr(cases, "PROBLEMS", {k: v for k, v in cases.PROBLEMS.items() if k != "huge"})
    missing = some.missing(suite.planned(Selection(optimizers=["adam"]))[0])
    assert "adam/default/huge/numpy/float64/eager" in missing
    assert "adam/default/brief/torch/float32/compiled" in missing
    assert all("/huge/" in name or "/torch" in name for name in missing)


def test_a_whole_run_is_compared_and_a_part_is_not(planned: list[Cell]) -> None:
    oracles = suite.planned(Selection(cells=["none"]))[1]
    whole = suite.recorded([], planned, oracles, Selection())
    assert whole.required == {"version": Required.load().version, "missing": []}
    assert "complete" in report.summary(whole)
    lacking = suite.recorded([], [cell for cell in planned if cell.case.optimizer != "adan"], oracles, Selection())
    assert {name.split("/")[0] for name in lacking.required["missing"]} == {"adan"}
    assert lacking.exit_code() == 1
    assert "NOT PLANNED  adan/default/brief/dask/float32/eager: is on the required list" in report.text(lacking)
    assert "cells missing" in report.summary(lacking)
    part = suite.recorded([], [], oracles, Selection(optimizers=["adam"]))
    assert part.required["missing"] is None
    assert "a part of the required list" in report.summary(part)


def test_a_run_from_the_command_line_is_compared(tmp_path: Path) -> None:
    """A part by its number is a part of the list; one by names is not."""
    out = ["--out", str(tmp_path)]
    assert main(["conformance", "--shard", "1/400", *out]) == 0
    record = Record.load(tmp_path / "record.json")
    assert record.cells
    assert record.required == {"version": Required.load().version, "missing": []}
    assert main(["conformance", "--shard", "1/400", "--backend", "numpy", *out]) == 0
    assert Record.load(tmp_path / "record.json").required["missing"] is None


def test_a_shard_is_compared_with_its_part(planned: list[Cell]) -> None:
    oracles = suite.planned(Selection(cells=["none"]))[1]
    shard = Selection(shards=[(1, 7)])
    own = [cell for cell in planned if shard.has(cell.case.name)]
    assert suite.recorded([], own, oracles, shard).required["missing"] == []
    gone = own[0].case.name
    assert suite.recorded([], [cell for cell in own if cell.case.name != gone], oracles, shard).required["missing"]


def test_the_command_raises_the_version_when_the_list_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], planned: list[Cell]
) -> None:
    (tmp_path / "required.toml").write_text(required.LIST.read_text())
    monkeypatch.setattr(required, "LIST", tmp_path / "required.toml")
    version = Required.load().version
    monkeypatch.setattr(suite, "planned", lambda selection: (planned, None))
    assert main(["conformance", "required"]) == 0
    assert f"still version {version}" in capsys.readouterr().out
    monkeypatch.setattr(suite, "planned", lambda selection: (planned[1:], None))
    assert main(["conformance", "required"]) == 0
    assert f"now version {version + 1}: 0 cells more, 1 less" in capsys.readouterr().out
    assert Required.load() == Required(version + 1, required.by_case(planned[1:]))


def test_a_record_keeps_what_was_missing(tmp_path: Path) -> None:
    record = Record({}, {}, [], {"version": 3, "missing": ["adam/default/brief/numpy/float64/eager"]}, ["stale"])
    record.save(tmp_path / "record.json")
    assert Record.load(tmp_path / "record.json") == record
    assert record.exit_code() == 1


def test_the_suites_own_waivers_are_about_planned_cells(planned: list[Cell]) -> None:
    for waiver in waivers.load(waivers.OWN):
        assert any(fnmatchcase(cell.name, waiver.cells) for cell in planned), waiver
