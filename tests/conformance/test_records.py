"""Records: checked, compared, and turned into reports."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from uniopt.conformance import Record, Selection, run
from uniopt.conformance.changes import changes, is_worse
from uniopt.conformance.junit import junit
from uniopt.conformance.record import digest
from uniopt.conformance.verification import verify

import uniopt.numerics
from uniopt.cli import main

SMALL = Selection(quick=True, backends=["numpy", "array_api_strict"], optimizers=["adam", "lion"])
ALL = ("float64", "bfloat16")


@pytest.fixture(scope="module")
def record() -> Record:
    return run(SMALL)


@pytest.fixture
def document(record: Record, tmp_path: Path) -> dict[str, Any]:
    record.save(tmp_path / "record.json")
    made: dict[str, Any] = json.loads((tmp_path / "record.json").read_text())
    return made


def checked(document: dict[str, Any], folder: Path) -> list[str]:
    (folder / "x.json").write_text(json.dumps(document))
    return verify(folder / "x.json")


def test_what_a_run_writes_is_sound(document: dict[str, Any], tmp_path: Path) -> None:
    assert checked(document, tmp_path) == []
    reordered = dict(reversed(document.items()))
    assert checked(reordered, tmp_path) == []


def _greener(document: dict[str, Any]) -> None:
    document["cells"][0]["comparisons"]["reference"]["max_ulp"] = "1e9"


def _verdict(document: dict[str, Any]) -> None:
    document["cells"][0]["verdict"] = "INEXACT"


def _bound(document: dict[str, Any]) -> None:
    document["cells"][0]["comparisons"]["reference"]["tight"] = -1.0


def _summary(document: dict[str, Any]) -> None:
    document["summary"]["PASS"] += 1


def _property(document: dict[str, Any]) -> None:
    document["cells"][0]["properties"]["inputs"] = "written to in step 1"


def _waived(document: dict[str, Any]) -> None:
    document["cells"][0]["waived"] = "it passes anyway"


def _twice(document: dict[str, Any]) -> None:
    document["cells"].append(copy.deepcopy(document["cells"][0]))
    document["summary"]["PASS"] += 1


def _renamed(document: dict[str, Any]) -> None:
    document["cells"][0]["dtype"] = "float16"


def _unexplained(document: dict[str, Any]) -> None:
    document["cells"][0] |= {"verdict": "NOT RUN", "comparisons": {}}
    document["summary"]["PASS"] -= 1
    document["summary"]["NOT RUN"] += 1


def _emptied(document: dict[str, Any]) -> None:
    document["cells"].clear()
    document["summary"] = dict.fromkeys(document["summary"], 0)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_greener, "are not the largest of its steps"),
        (_verdict, "the verdict is INEXACT, expected PASS"),
        (_bound, "are called PASS, expected INEXACT"),
        (_summary, "the summary says"),
        (_property, "the verdict is PASS, expected FAIL"),
        (_waived, "PASS is waived"),
        (_twice, "is in it 2 times"),
        (_renamed, "the name is not made of its parts"),
        (_unexplained, "needs a reason"),
        (_emptied, "nothing was tested"),
    ],
)
def test_what_has_been_changed_is_found(
    document: dict[str, Any], tmp_path: Path, spoil: Callable[[dict[str, Any]], None], said: str
) -> None:
    spoil(document)
    found = checked(document, tmp_path)
    assert "it has been changed" in found[0]
    assert any(said in line for line in found)
    document["sha256"] = digest(document)  # whoever changed it may have done that, too
    found = checked(document, tmp_path)
    assert not any("digest" in line for line in found)
    assert any(said in line for line in found)


def test_a_changed_date_is_found_by_the_digest_alone(document: dict[str, Any], tmp_path: Path) -> None:
    document["provenance"]["date"] = "2001-01-01"
    assert len(checked(document, tmp_path)) == 1


def test_what_is_no_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    for text, said in (("{", "no JSON document"), ("[]", "found 'list'"), ('{"schema": "x/9"}', "found 'x/9'")):
        path.write_text(text)
        assert main(["conformance", "verify", str(path)]) == 1
        assert said in capsys.readouterr().out
    assert main(["conformance", "verify", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err
    assert main(["conformance", "compare", str(path)]) == 2
    assert "found 1 files, expected 2" in capsys.readouterr().err


def test_two_records_are_compared(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(changes(record, record)) == []
    assert not is_worse(record, record)
    exact = uniopt.numerics.bias_correction
    monkeypatch.setattr(uniopt.numerics, "bias_correction", lambda *args: 1.001 * exact(*args))
    other = run(Selection(quick=True, backends=["numpy"], optimizers=["adam"], dtypes=["float64"]))
    names = {cell["name"] for cell in other.cells}
    found = list(changes(record, other))
    assert is_worse(record, other)
    assert {line.split()[-1] for line in found if line.startswith("worse   PASS -> FAIL")} == names
    gone = {line.split()[-1] for line in found if line.startswith("gone")}
    assert gone == {cell["name"] for cell in record.cells} - names
    assert any(line.startswith("array_api_strict: ") and line.endswith("-> -") for line in found)
    back = list(changes(other, record))
    assert not is_worse(other, record)
    assert {line.split()[-1] for line in back if line.startswith("better  FAIL -> PASS")} == names
    assert {line.split()[-1] for line in back if line.startswith("new")} == gone
    record.save(tmp_path / "a.json")
    other.save(tmp_path / "b.json")
    assert main(["conformance", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 1
    assert capsys.readouterr().out.splitlines() == found
    assert main(["conformance", "compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 0


def test_distances_are_compared(record: Record) -> None:
    other = replace(record, cells=copy.deepcopy(list(record.cells)))
    other.cells[0]["comparisons"]["reference"]["max_ulp"] = "0.25"
    was = float(record.cells[0]["comparisons"]["reference"]["max_ulp"])
    assert list(changes(record, other)) == [
        f"differs against reference: {was:.4g} -> 0.25 ulp  {record.cells[0]['name']}"
    ]


def test_junit_has_a_case_for_every_cell(record: Record) -> None:
    failed = {**record.cells[0], "verdict": "FAIL", "reason": "Traceback\nValueError: <x> & y"}
    missing = {**record.cells[1], "verdict": "NOT RUN", "reason": "no device", "comparisons": {}, "properties": {}}
    spoiled = replace(record, cells=[failed, missing, *record.cells[2:]])
    root = ET.fromstring(junit(spoiled))
    assert [suite.get("name") for suite in root] == ["numpy", "array_api_strict"]
    assert root.get("tests") == str(len(record.cells))
    assert root.get("failures") == root.get("skipped") == "1"
    cases = root.findall("./testsuite/testcase")
    assert [case.get("name") for case in cases] == [cell["name"] for cell in record.cells]
    failure = cases[0].find("failure")
    assert failure is not None
    assert failure.text is not None
    assert "ValueError: <x> & y" in failure.text
    assert f"run: {failed['command']}" in failure.text
    skipped = cases[1].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "NOT RUN: no device"


def test_reports_are_written_again(record: Record, tmp_path: Path) -> None:
    record.save(tmp_path / "record.json")
    assert main(["conformance", "report", str(tmp_path / "record.json")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "report.html", "report.md", "junit.xml"}


def test_shards_part_the_cases_and_jobs_leave_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = ["conformance", "--quick", "--backend", "numpy", "--list"]
    main(listed)
    everything = capsys.readouterr().out.split()
    parts = []
    for k in (1, 2, 3):
        main([*listed, "--shard", f"{k}/3"])
        parts.append(capsys.readouterr().out.split())
    assert all(len(everything) / 6 < len(part) < len(everything) / 2 for part in parts)
    assert sorted(name for part in parts for name in part) == sorted(everything)
    for wrong in ("0/3", "4/3", "3", "a/b"):
        with pytest.raises(SystemExit):
            main([*listed, "--shard", wrong])
    chosen = ["conformance", "--quick", "--backend", "numpy", "--optimizer", "adam", "--optimizer", "sgd"]
    for jobs in ("1", "2"):
        assert main([*chosen, "--jobs", jobs, "--out", str(tmp_path / jobs)]) == 0
    one, two = (Record.load(tmp_path / jobs / "record.json") for jobs in ("1", "2"))
    assert [cell["name"] for cell in one.cells] == [cell["name"] for cell in two.cells]
    assert list(changes(one, two)) == []
