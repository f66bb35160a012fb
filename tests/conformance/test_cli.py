"""The command: what it runs, what it prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from uniopt.conformance import Record, report
from uniopt.conformance.cases import registered

import uniopt
import uniopt.numerics
from uniopt.cli import main

QUICK = ["conformance", "--quick", "--against", "reference", "--against", "numpy"]
HERE = [*QUICK, "--backend", "numpy", "--backend", "array_api_strict"]


def test_a_quick_run_passes_and_writes_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*HERE, "--out", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    record = Record.load(tmp_path / "new" / "record.json")
    assert record.summary()["PASS"] + record.summary()["UNSUPPORTED"] == len(record.cells) > 100
    unsupported = [cell for cell in record.cells if cell["verdict"] == "UNSUPPORTED"]
    assert {cell["dtype"] for cell in unsupported if cell["optimizer"] != "torch.Muon"} == {"bfloat16"}
    assert {cell["optimizer"] for cell in record.cells} == registered().keys()
    assert report.text(record) in printed
    assert (tmp_path / "new" / "report.md").read_text(encoding="utf-8") == report.markdown(record)
    again = tmp_path / "again.json"
    record.save(again)
    assert again.read_text() == (tmp_path / "new" / "record.json").read_text()


def test_a_record_says_where_it_comes_from(tmp_path: Path) -> None:
    main([*HERE, "--optimizer", "sgd", "--out", str(tmp_path)])
    document = json.loads((tmp_path / "record.json").read_text())
    provenance = document["provenance"]
    assert document["schema"] == "uniopt-conformance/3"
    assert provenance["uniopt"] == uniopt.__version__
    assert set(provenance["libraries"]) == {"numpy", "array_api_strict"}
    assert {"commit", "clean"} == set(provenance["source"])
    assert {"python", "platform", "flags", "seed", "date", "command"} <= set(provenance)
    cell = document["cells"][0]
    assert cell["comparisons"]["reference"]["reason"]
    assert float(cell["comparisons"]["reference"]["max_ulp"]) >= 0
    assert cell["properties"] == {"inputs": "", "leaves": "", "state": "", "resume": ""}


def test_another_document_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match="no conformance record"):
        Record.load(tmp_path / "x.json")


def test_a_failure_prints_the_command_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uniopt.numerics, "bias_correction", lambda xp, t, decay, ahead=0: 1.0)
    assert main([*QUICK, "--backend", "numpy", "--optimizer", "adam", "--dtype", "float64"]) == 1
    printed = capsys.readouterr().out
    assert "against reference: first in step 1 at params['" in printed
    command = next(line for line in printed.splitlines() if "run: " in line).split("run: uniopt ")[1]
    assert command == "conformance adam/default/brief/numpy/cpu/float64/eager"
    assert main([*command.split(), "--against", "reference"]) == 1
    repeated = capsys.readouterr().out
    assert "1 cells: 1 FAIL" in repeated
    monkeypatch.undo()
    assert main([*command.split(), "--against", "reference"]) == 0


def test_listing_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--backend", "numpy", "--optimizer", "sgd", "--list"]) == 0
    names = capsys.readouterr().out.split()
    assert "sgd/momentum/brief/numpy/cpu/float32/eager" in names
    assert all(name.startswith("sgd/") for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sgd/no/such/cell"], "no cell matches"),
        (["--backend", "numpy", "--mode", "traced"], "no cell matches"),
        (["--backend", "numpy", "--device", "cuda:7"], "no cell matches"),
        (["--backend", "numpi"], "no backend is called 'numpi'. Known: numpy, cupy"),
        (["--optimizer", "adamm"], "no optimizer is called 'adamm'"),
        (["--dtype", "float8"], "no dtype is called 'float8'"),
        (["--against", "lasagne"], "no oracle is called 'lasagne'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_backend_that_was_asked_for_runs_or_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = uniopt.backends.why_unavailable
    monkeypatch.setattr(uniopt.backends, "why_unavailable", lambda n: "no device" if n == "cupy" else known(n))
    asked = [*QUICK, "--optimizer", "sgd", "--backend", "numpy"]
    assert main([*asked, "--backend", "cupy"]) == 3
    printed = capsys.readouterr().out
    assert "NOT RUN  cupy: no device" in printed
    assert "NOT RUN" in next(line for line in printed.splitlines() if line.startswith("cupy"))
    assert main(asked) == 0


def test_a_library_that_nobody_named_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniopt.backends, "why_unavailable", lambda n: None if n == "numpy" else "not here")
    assert main([*QUICK, "--optimizer", "sgd"]) == 0


def test_it_runs_as_a_module_and_imports_no_framework() -> None:
    code = (
        "import sys, uniopt.conformance\n"
        "assert 'uniopt.conformance.problems' not in sys.modules\n"
        "from uniopt.conformance import Selection, run\n"
        "run(Selection(backends=['numpy'], optimizers=['sgd'], against=['reference'], quick=True))\n"
        "print([name for name in ('torch', 'jax', 'mlx', 'dask', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    listed = subprocess.run(
        [sys.executable, "-m", "uniopt.conformance", "--list", "--backend", "numpy", "--optimizer", "sgd"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sgd/default/tiny/numpy/cpu/float64/eager" in listed.stdout.split()
