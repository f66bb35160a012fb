"""Waivers: a waived cell keeps its verdict and does not fail the run; a waiver that holds for nothing does."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from uniopt.conformance import Record, waivers
from uniopt.conformance.junit import junit

import uniopt.numerics
from uniopt.cli import main

WRONG_ADAM = ["conformance", "--quick", "--backend", "numpy", "--optimizer", "adam", "--against", "reference"]


@pytest.fixture
def wrong_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = uniopt.numerics.bias_correction
    monkeypatch.setattr(uniopt.numerics, "bias_correction", lambda *args: 1.001 * exact(*args))


def written(folder: Path, *entries: tuple[str, str, str]) -> str:
    lines = (
        f'[[waiver]]\ncells = "{cells}"\nverdict = "{verdict}"\nreason = "{why}"' for cells, verdict, why in entries
    )
    (folder / "waivers.toml").write_text("\n".join(lines))
    return str(folder / "waivers.toml")


@pytest.mark.usefixtures("wrong_adam")
def test_a_waived_failure_is_shown_with_its_reason_and_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(WRONG_ADAM) == 1
    path = written(tmp_path, ("adam/*/brief/*", "FAIL", "the <correction> is off"))
    assert main([*WRONG_ADAM, "--waivers", path, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    record = Record.load(tmp_path / "record.json")
    failed = [cell for cell in record.cells if cell["verdict"] == "FAIL"]
    assert failed
    assert {cell["waived"] for cell in failed} == {"the <correction> is off"}
    assert record.summary()["FAIL"] == len(failed)
    for text in (printed, (tmp_path / "report.md").read_text()):
        assert f"FAIL, waived  {failed[0]['name']}\n  waived: the <correction> is off\n" in text
        assert f"{len(failed)} of them waived" in text
    assert "the \\u003ccorrection> is off" in (tmp_path / "report.html").read_text()
    assert main(["conformance", "verify", str(tmp_path / "record.json")]) == 0
    root = ET.fromstring(junit(record))
    assert (root.get("failures"), root.get("skipped")) == ("0", str(len(failed)))
    assert {x.get("message") for x in root.iter("skipped")} == {"FAIL, waived: the <correction> is off"}


@pytest.mark.usefixtures("wrong_adam")
def test_a_failure_that_no_waiver_is_about_still_fails_the_run(tmp_path: Path) -> None:
    path = written(tmp_path, ("adam/default/*", "FAIL", "known"))
    assert main([*WRONG_ADAM, "--waivers", path]) == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("cells", "verdict", "found"),
    [
        ("adam/*", "FAIL", "they are PASS"),
        ("adam/*", "INEXACT", "they are PASS"),
        ("adamm/*", "FAIL", "no such cell ran"),
    ],
)
def test_a_waiver_that_holds_for_no_cell_fails_the_run(
    cells: str, verdict: str, found: str, jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, (cells, verdict, "known"))
    assert main([*WRONG_ADAM, "--waivers", path, "--jobs", jobs, "--out", str(tmp_path)]) == 1
    said = f"STALE  the waiver of {verdict} for {cells} holds for no cell: {found}"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "report.md").read_text()
    assert Record.load(tmp_path / "record.json").exit_code() == 1


def test_a_waiver_for_other_cells_is_not_judged_by_a_part_of_them(tmp_path: Path) -> None:
    path = written(tmp_path, ("sgd/*", "FAIL", "known"))
    assert main(["conformance", "adam/default/brief/numpy/cpu/float64/eager", "--waivers", path]) == 0


def test_an_inexact_cell_can_be_waived() -> None:
    cell = {"name": "adam/x", "verdict": "INEXACT"}
    waiver = waivers.Waiver("adam/*", "INEXACT", "known")
    assert waivers.waived([waiver], [cell]) == [{**cell, "waived": "known"}]
    assert waivers.stale([waiver], [cell], is_part=False) == []
    assert waivers.waived([waivers.Waiver("adam/*", "FAIL", "known")], [cell])[0]["waived"] == ""


def test_the_suites_own_waivers_are_sound_and_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waivers.load(waivers.OWN)
    monkeypatch.setattr(waivers, "OWN", Path(written(tmp_path, ("adam/*", "FAIL", "known"))))
    assert main(WRONG_ADAM) == 1  # adam passes
    assert main([name if name != "adam" else "sgd" for name in WRONG_ADAM]) == 0  # and is not run here


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[waiver]", "cannot be read"),
        ("[[waver]]", "expected tables [[waiver]]"),
        ('[[waiver]]\ncells = "*"\nverdict = "FAIL"', "expected a text for each of cells, verdict, reason"),
        ('[[waiver]]\ncells = "*"\nverdict = "FAIL"\nreason = ""', "expected a text for each"),
        ('[[waiver]]\ncells = "*"\nverdict = "PASS"\nreason = "x"', "expected FAIL or INEXACT"),
    ],
)
def test_a_file_that_is_none_of_waivers_is_wrong_usage(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "waivers.toml").write_text(text)
    assert main([*WRONG_ADAM, "--waivers", str(tmp_path / "waivers.toml")]) == 2
    assert said in capsys.readouterr().err
