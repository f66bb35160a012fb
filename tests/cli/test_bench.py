"""The benchmark's command: what it runs, what it writes down, and its exit codes. No test looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import uniopt
from uniopt import backends
from uniopt.cli import main

QUICK = ["--quick", "--optimizer", "sgd"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, since it sets the libraries' numbers of threads."""
    program = "import sys; from uniopt.cli import main; sys.exit(main(['bench', *sys.argv[1:]]))"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("bench") / "new"
    return bench(*QUICK, "--optimizer", "adamw", "--out", str(folder)), folder


@pytest.fixture(scope="module")
def document(quick: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((quick[1] / "record.json").read_text())
    return found


def test_a_quick_run_measures_every_kind_of_row_and_judges_none(
    quick: tuple[subprocess.CompletedProcess[str], Path], document: dict[str, Any]
) -> None:
    done, _ = quick
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["verdict"] for row in document["rows"]} == {"NOT JUDGED"}
    assert {row["against"] for row in document["rows"]} == {
        "torch-fused",
        "torch-optimizer",
        "eager",
        "bandwidth",
        "optax",
        "by-hand",
        "memory",
    }
    assert {(row["backend"], row["size"]) for row in document["rows"]} == {
        ("numpy", "10"),
        ("numpy", "10x1e3"),
        ("torch", "10x1e3"),
        ("jax", "10x1e3"),
    }
    assert document["summary"]["NOT JUDGED"] == len(document["rows"])


def test_the_settings_and_every_row_are_printed(
    quick: tuple[subprocess.CompletedProcess[str], Path], document: dict[str, Any]
) -> None:
    printed = quick[0].stdout
    assert "At least 5 rounds and 0 s; threads for every side: 1" in printed
    assert "torch.get_num_threads() = 1" in printed
    assert printed.endswith(f"Not judged: {document['rows'][0]['reason']}.\n{len(document['rows'])} NOT JUDGED\n")
    page = (quick[1] / "report.md").read_text()
    for row in document["rows"]:
        assert f"\n{row['name']} " in printed
        assert f"| {row['name']} |" in page


def test_the_record_is_complete(document: dict[str, Any]) -> None:
    assert document["schema"] == "uniopt-bench/1"
    provenance = document["provenance"]
    assert provenance["uniopt"] == uniopt.__version__
    assert set(provenance["libraries"]) == {"numpy", "torch", "jax"}
    assert {"torch", "optax"} <= set(provenance["peers"])
    assert {"commit", "clean"} == set(provenance["source"])
    assert {"python", "platform", "processor", "cores", "flags", "seed", "date", "command"} <= set(provenance)
    assert document["settings"] == {"threads": 1, "quick": True, "rounds": 5, "seconds": 0.0}
    for row in document["rows"]:
        assert row["target"] is None  # the table's targets are for other sizes, and more rounds
        assert row["leaves"] >= 1
        assert row["elements"] >= 10
        assert row["ratio"]["lower"] <= row["ratio"]["median"] <= row["ratio"]["upper"]
        assert row["against_is"]
        if row["against"] == "memory":
            assert set(row["measured"]) == {"peak_bytes", "held_bytes", "allowed_bytes"}
            continue
        for side in ("uniopt", "other"):
            assert len(row["measured"][side]["seconds"]) == 5
            assert row["measured"][side]["steps"] >= 1
            assert len(row["measured"][side]["processor"]) == 5
            assert row["measured"][side]["cores"] > 0
        assert row["measured"]["processor_ratio"]["median"] > 0
        if row["against"] != "bandwidth":
            assert row["measured"]["peer"]
            assert row["measured"]["agreement"]["strays"] == 0


def test_rows_on_a_device_that_is_not_here_do_not_run(tmp_path: Path) -> None:
    if backends.why_unavailable("cupy") is None:
        pytest.skip("there is a CUDA device")
    done = bench("--quick", "--device", "cuda", "--out", str(tmp_path))
    assert done.returncode == 2
    rows = json.loads((tmp_path / "record.json").read_text())["rows"]
    assert {row["backend"] for row in rows} == {"cupy", "jax", "torch"}
    assert {(row["verdict"], row["device"]) for row in rows} == {("NOT RUN", "cuda")}
    assert {row["reason"] for row in rows} >= {"torch finds no device cuda", "jax finds no device cuda"}


def test_a_row_that_cannot_run_says_why(tmp_path: Path) -> None:
    done = bench("--quick", "--optimizer", "asgd", "--against", "optax", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "NOT RUN\n    optax has no asgd" in done.stdout
    assert json.loads((tmp_path / "record.json").read_text())["rows"][0]["reason"] == "optax has no asgd"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backend", "tensorflow"], "no backend is called 'tensorflow'. Known: cupy, jax, numpy, torch"),
        (["--optimizer", "adamm"], "no optimizer is called 'adamm'"),
        (["--size", "1e9"], "no size is called '1e9'. Known: 10, 10x1e3, 200x1e4, 2e7, gpt2"),
        (["--against", "keras"], "no other side is called 'keras'. Known: torch-fused"),
        (["--backend", "jax", "--against", "torch-fused"], "no row of the table"),
        (["--threads", "0"], "--threads is 0, expected 1 or more"),
        (["--quick", "--out", "/dev/null/x"], "--out: /dev/null/x cannot be made"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_compiled_torch_is_a_side_too(tmp_path: Path) -> None:
    against = ["--against", "torch-compile", "--against", "first-call-cold", "--against", "first-call-warm"]
    names = ["--optimizer", "rmsprop", "--optimizer", "adamw"]
    done = bench("--quick", "--backend", "torch", *names, *against, "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "record.json").read_text())["rows"]
    assert {(row["against"], row["verdict"]) for row in rows} == {
        ("torch-compile", "NOT JUDGED"),
        ("first-call-cold", "NOT JUDGED"),
        ("first-call-warm", "NOT JUDGED"),
    }
